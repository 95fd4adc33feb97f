"""Word vectors beside word2vec.c, gensim and GloVe: words a second, memory, scores.

    python run.py BEDSTONE WORD2VEC_C GLOVE_BUILD CORPUS WORDSIM WORK [--rounds 3] [--only word2vec|glove] [--programs NAME…] --out rows.jsonl

Each round has a seed of its own, its number (word2vec.c knows none, and varies by its threads).
CORPUS comes from corpus.py; WORDSIM is the folder with questions-words.txt, wordsim353.tsv and simlex999.txt. The programs take
turns, each a fresh process with the same settings and threads. Seconds are those of the whole process: reading the text,
training, writing vectors; `training` is the speed that a program reports of training alone. Memory is the process's highest
resident size. On a machine that others use as well, the seconds of processors say more than those of the clock. All vectors are judged by the same program, `bedstone eval`.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SIZE, WINDOW, NEGATIVE, SAMPLE, ALPHA, MIN_COUNT = 100, 5, 5, 1e-3, 0.025, 5
GLOVE_SIZE, GLOVE_WINDOW, X_MAX, ETA, GLOVE_EPOCHS = 100, 10, 100, 0.05, 10

GENSIM = """
import sys, time
from gensim.models import Word2Vec
corpus, out, threads, epochs, sg = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
m = Word2Vec(vector_size={size}, window={window}, negative={negative}, sample={sample}, alpha={alpha}, min_count={min_count},
             seed=int(sys.argv[6]), sg=sg, hs=0, workers=threads, epochs=epochs)
m.build_vocab(corpus_file=corpus)
start = time.time()
m.train(corpus_file=corpus, total_words=m.corpus_total_words, total_examples=m.corpus_count, epochs=epochs)
print("training", m.corpus_total_words * epochs / (time.time() - start))
m.wv.save_word2vec_format(out, binary=True)
""".format(size=SIZE, window=WINDOW, negative=NEGATIVE, sample=SAMPLE, alpha=ALPHA, min_count=MIN_COUNT)


def run(command, **more):
    """Seconds by the clock and of processors, highest resident size in MiB, and what it said."""
    start = time.time()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **more)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.time() - start
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if status:
        sys.exit(f"{command}: {text[-2000:]}")
    return (seconds, usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1024, text


def judge(bedstone, vectors, wordsim):
    scores = {}
    for name, task in [("questions-words.txt", "analogy"), ("wordsim353.tsv", "similarity"), ("simlex999.txt", "similarity")]:
        found = json.loads(subprocess.check_output([bedstone, "eval", vectors, "--task", task, "--data", f"{wordsim}/{name}", "--json"]))
        scores[name.split(".")[0]] = round(found["accuracy"] if task == "analogy" else found["spearman"], 4)
    return scores


def word2vec(a, words, seed):
    ours = [a.bedstone, "pretrain", "word2vec", "--data", a.corpus, "--threads", str(a.threads), "--set", "text.split=whitespace",
            "--set", f"train.epochs={a.epochs}", "--seed", str(seed)]

    def bedstone(name, *more):
        out = f"{a.work}/{name}"
        subprocess.run(["rm", "-rf", out], check=True)
        seconds, memory, text = run([*ours, *more, "--out", out])
        return seconds, memory, float(re.findall(r"([\d,]+) tok/s", text)[-1].replace(",", "")), out

    def c(sg):
        out = f"{a.work}/word2vec-c.bin"
        seconds, memory, text = run([a.word2vec, "-train", a.corpus, "-output", out, "-binary", "1", "-cbow", str(1 - sg), "-size", str(SIZE),
                                     "-window", str(WINDOW), "-negative", str(NEGATIVE), "-hs", "0", "-sample", str(SAMPLE), "-threads", str(a.threads),
                                     "-iter", str(a.epochs), "-min-count", str(MIN_COUNT), "-alpha", str(ALPHA)])
        return seconds, memory, None, out

    def gensim(sg):
        out = f"{a.work}/gensim.bin"
        seconds, memory, text = run([a.python, "-c", GENSIM, a.corpus, out, str(a.threads), str(a.epochs), str(sg), str(seed)])
        return seconds, memory, float(re.findall(r"training ([\d.e+]+)", text)[-1]), out

    return {
        "bedstone": lambda: bedstone("shared"),
        "bedstone, own noise for each pair": lambda: bedstone("own", "--set", "model.shared_negatives=false"),
        "bedstone, deterministic": lambda: bedstone("deterministic", "--deterministic"),
        "word2vec.c": lambda: c(1),
        "gensim": lambda: gensim(1),
        "bedstone CBOW": lambda: bedstone("cbow", "--set", "model.sg=false"),
        "gensim CBOW": lambda: gensim(0),
    }


def glove(a, words, seed):
    def bedstone():
        out = f"{a.work}/glove"
        subprocess.run(["rm", "-rf", out], check=True)
        seconds, memory, text = run([a.bedstone, "pretrain", "glove", "--data", a.corpus, "--threads", str(a.threads), "--out", out,
                                     "--set", "text.split=whitespace", "--set", f"counts.window={GLOVE_WINDOW}", "--set", f"model.vector_size={GLOVE_SIZE}",
                                     "--set", f"train.epochs={GLOVE_EPOCHS}", "--set", f"train.x_max={X_MAX}", "--set", f"train.eta={ETA}", "--seed", str(seed)])
        return seconds, memory, float(re.findall(r"([\d,]+) tok/s", text)[-1].replace(",", "")), out

    def original():
        w, b = a.work, a.glove
        out = f"{w}/glove-c"
        script = f"""set -e
{b}/vocab_count -min-count {MIN_COUNT} -verbose 0 < {a.corpus} > {w}/vocab.txt
{b}/cooccur -memory 1.0 -vocab-file {w}/vocab.txt -verbose 0 -window-size {GLOVE_WINDOW} -overflow-file {w}/overflow < {a.corpus} > {w}/cooc.bin
{b}/shuffle -memory 1.0 -seed {seed} -verbose 0 -temp-file {w}/temp < {w}/cooc.bin > {w}/cooc.shuf
date +%s.%N > {w}/begin
{b}/glove -save-file {out} -threads {a.threads} -input-file {w}/cooc.shuf -x-max {X_MAX} -iter {GLOVE_EPOCHS} -vector-size {GLOVE_SIZE} -binary 0 -vocab-file {w}/vocab.txt -eta {ETA} -seed {seed} -verbose 0
date +%s.%N > {w}/end
"""
        seconds, memory, _ = run(["bash", "-c", script])
        begin, end = (float(pathlib.Path(f"{w}/{n}").read_text()) for n in ("begin", "end"))
        pairs = pathlib.Path(f"{w}/cooc.bin").stat().st_size / 16 * GLOVE_EPOCHS
        return seconds, memory, pairs / (end - begin), f"{out}.txt"

    return {"bedstone GloVe": bedstone, "GloVe": original}


def main():
    p = argparse.ArgumentParser()
    for name in ("bedstone", "word2vec", "glove", "corpus", "wordsim", "work"):
        p.add_argument(name)
    p.add_argument("--python", default=sys.executable)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--first", type=int, default=1)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--only")
    p.add_argument("--programs", nargs="*")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    pathlib.Path(a.work).mkdir(parents=True, exist_ok=True)
    words = int(subprocess.check_output(["wc", "-w", a.corpus]).split()[0])
    with open(a.out, "a") as out:
        for round in range(a.first, a.first + a.rounds):
            programs = {}
            if a.only != "glove":
                programs |= word2vec(a, words, round)
            if a.only != "word2vec":
                programs |= glove(a, words, round)
            for name, start in programs.items():
                if a.programs and name not in a.programs:
                    continue
                seconds, memory, training, vectors = start()
                row = {"program": name, "round": round, "epochs": GLOVE_EPOCHS if "GloVe" in name else a.epochs, "threads": a.threads, "words": words,
                       "seconds": round_(seconds[0]), "cpu_seconds": round_(seconds[1]), "memory_mib": round_(memory), "training_per_s": training and int(training)}
                row |= judge(a.bedstone, vectors, a.wordsim)
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(json.dumps(row), flush=True)


def round_(x):
    return float(f"{x:.4g}")


main()
