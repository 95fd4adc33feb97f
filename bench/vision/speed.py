"""Pictures a second beside PyTorch and onnxruntime, in turn: A B A B, a fresh process each time.

    python speed.py BEDSTONE PYTHON [--rounds 5] [--only vit-b16:infer:1] [--out speed.jsonl]

BEDSTONE is the binary, PYTHON an interpreter with torch, transformers and onnxruntime. Raw rows go to --out, one JSON object a line; the
table goes to standard output. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEER = str(Path(__file__).parent / "peer.py")
CASES = [("vit-b16", "infer", 1), ("vit-b16", "infer", 32), ("vit-b16", "train", 32), ("yolos-s", "infer", 1), ("yolos-s", "train", 1)]


def variants(a, model, what, batch):
    """Name and command of each competitor, in the order in which a round runs them."""
    steps = 3 if what == "train" or batch > 1 else 9
    more = ["--batch", batch, "--threads", a.threads, "--steps", steps]
    for precision in ["f32", "bf16"]:
        yield f"bedstone {precision}", [a.bedstone, "bench", what, "--model", model, "--precision", precision, "--json", *more]
        yield f"torch {precision}", [a.python, PEER, "torch", what, model, precision, *more]
        if precision == "f32" and what == "infer":
            yield "onnxruntime f32", [a.python, PEER, "onnxruntime", what, model, precision, *more]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bedstone")
    p.add_argument("python")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--only", nargs="+", help="cases, such as vit-b16:infer:1")
    p.add_argument("--out", default="speed.jsonl")
    a = p.parse_args()
    cases = [c for c in CASES if not a.only or ":".join(map(str, c)) in a.only]
    rows = []
    with open(a.out, "a") as out:
        for model, what, batch in cases:
            for r in range(a.rounds):
                for name, command in variants(a, model, what, batch):
                    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
                    if done.returncode != 0:
                        print(f"{name} {model} {what}: {done.stderr[-800:]}", file=sys.stderr)
                        continue
                    row = json.loads(done.stdout.strip().splitlines()[-1])
                    row = dict(row, who=name, what=what, round=r, date=time.strftime("%Y-%m-%d"))
                    rows.append(row)
                    print(json.dumps(row), file=out, flush=True)
                    print(f"{model} {what} {batch} round {r} {name}: {row['per_s']}", file=sys.stderr)
    print("| model | | batch | | median pictures/s | best | peak memory, MiB | of the peer in this precision |\n|---|---|---|---|---|---|---|---|")
    for model, what, batch in cases:
        mine = [row for row in rows if (row["model"], row["what"], row["batch"]) == (model, what, batch)]
        median = lambda who: statistics.median(row["per_s"] for row in mine if row["who"] == who)
        for who in dict.fromkeys(row["who"] for row in mine):
            peers = [w for w in dict.fromkeys(row["who"] for row in mine) if w != who and w.endswith(who.split()[-1])]
            ratio = f"{median(who) / max(map(median, peers)):.2f}" if who.startswith("bedstone") and peers else ""
            best = max(row["best"] for row in mine if row["who"] == who)
            memory = min(row["peak_memory_bytes"] for row in mine if row["who"] == who) / 2**20
            print(f"| {model} | {what} | {batch} | {who} | {median(who):.2f} | {best:.2f} | {memory:,.0f} | {ratio} |")


main()
