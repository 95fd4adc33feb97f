"""Files of bedstone in gensim: all words, the same vectors, the same neighbours; and files of gensim in bedstone.

    python gensim_opens.py BEDSTONE RUN WORD…

RUN: a directory of `bedstone pretrain word2vec` or `glove`. Exits with 1 at the first difference.
"""

import json
import subprocess
import sys
import tempfile

import numpy as np
from gensim.models import KeyedVectors

bedstone, run, *words = sys.argv[1:]


def neighbours(vectors, word):
    found = json.loads(subprocess.check_output([bedstone, "similar", vectors, word, "--json"]))
    return [(n["word"], n["similarity"]) for n in found["neighbours"]]


def same(ours, theirs, what):
    if [w for w, _ in ours] != [w for w, _ in theirs] or not np.allclose([s for _, s in ours], [s for _, s in theirs], atol=2e-5):
        sys.exit(f"{what}: {ours} {theirs}")


with tempfile.TemporaryDirectory() as folder:
    loaded = {}
    for to, options in [("word2vec-text", {}), ("word2vec-binary", {"binary": True}), ("glove-text", {"no_header": True})]:
        path = f"{folder}/{to}"
        subprocess.run([bedstone, "convert", run, "--to", to, "--out", path], check=True, capture_output=True)
        loaded[to] = KeyedVectors.load_word2vec_format(path, **options)
        for word in words:
            same(neighbours(run, word), loaded[to].most_similar(word), f"{to}, {word}")
    first = loaded["word2vec-binary"]
    for to, vectors in loaded.items():
        if vectors.index_to_key != first.index_to_key or not np.array_equal(vectors.vectors, first.vectors):
            sys.exit(f"{to}: other words or numbers than in word2vec-binary")
    for binary in (False, True):
        path = f"{folder}/gensim"
        first.save_word2vec_format(path, binary=binary)
        for word in words:
            same(neighbours(path, word), first.most_similar(word), f"of gensim, binary={binary}, {word}")
    print(f"{len(first.index_to_key)} words of {first.vector_size} dimensions: the same in gensim {__import__('gensim').__version__}, both ways")
