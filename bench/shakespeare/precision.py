"""The same training in f32 and in bf16: do the losses end together?

    python precision.py BEDSTONE TEXTS WORK [--steps 1000] [--seeds 0 1] [--lr 1e-3]

The model and settings are those of compare.py but for the learning rate: at 3e-3 steps around the end of the warm-up are on
the edge of what is stable, and any rounding decides which way a run goes. TEXTS is a folder of .txt files, WORK a folder that does not exist yet.
Writes precision.json beside this file and prints a table; exit code 1 if a pair ends more than 1 % apart.
"""
import argparse, json, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent


def main():
    a = argparse.ArgumentParser()
    a.add_argument("bedstone")
    a.add_argument("texts", type=Path)
    a.add_argument("work", type=Path)
    a.add_argument("--steps", type=int, default=1000)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = a.parse_args()
    args.work.mkdir(parents=True)
    held = ["henry_viii_gut.txt", "romeo_and_juliet_gut.txt"]
    train = [str(p) for p in sorted(args.texts.glob("*.txt")) if p.name not in held]
    settings = {
        "data.validation": json.dumps([str(args.texts / h) for h in held]),
        "tokenizer.vocab_size": 4096, "model.n_embd": 256, "model.n_layer": 4, "model.n_head": 4,
        "train.context": 256, "train.batch": 8, "train.lr": args.lr, "train.steps": args.steps,
        "train.evaluate_every": args.steps // 5, "train.checkpoint_every": 0,
        "evaluate.tokens": 0, "evaluate.final_tokens": 0,
    }
    rows = []
    for seed in args.seeds:
        for precision in ["f32", "bf16"]:
            out = args.work / f"{precision}-{seed}"
            command = [args.bedstone, "pretrain", "gpt", "--out", str(out), "--precision", precision, "--seed", str(seed)]
            command += [x for k, v in settings.items() for x in ("--set", f"{k}={v}")] + ["--data", *train]
            begun = time.time()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            lines = [json.loads(x) for x in (out / "training" / "log.jsonl").read_text().splitlines()]
            losses = [x["loss"] for x in lines if "loss" in x]
            rows.append({
                "seed": seed, "precision": precision, "seconds": round(time.time() - begun),
                "train": [round(sum(losses[i:i + 50]) / 50, 5) for i in range(0, len(losses) - 49, 50)],
                "validation": [round(x["val_loss"], 5) for x in lines if "val_loss" in x],
            })
            print(rows[-1]["validation"], precision, seed, rows[-1]["seconds"], "s", file=sys.stderr)
    (HERE / "precision.json").write_text("".join(json.dumps(r) + "\n" for r in rows))
    worst = 0.0
    print("| seed | f32, validation | bf16, validation | apart | training loss of the last 50 steps, apart |\n|---|---|---|---|---|")
    for f, b in zip(rows[::2], rows[1::2]):
        apart = b["validation"][-1] / f["validation"][-1] - 1
        train = b["train"][-1] / f["train"][-1] - 1
        worst = max(worst, abs(apart))
        print(f"| {f['seed']} | {f['validation'][-1]:.4f} | {b['validation'][-1]:.4f} | {100 * apart:+.2f} % | {100 * train:+.2f} % |")
    sys.exit(worst > 0.01)


main()
