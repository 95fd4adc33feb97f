"""Training throughput beside PyTorch, and Candle and Burn if given, in turn: A B A B, a fresh process each time.

    python run.py BEDSTONE PYTHON [--candle PATH] [--burn PATH] [--models gpt-6m gpt-17m gpt-163m] [--rounds 5]
                  [--out rows.jsonl] [--no-compile] [--precisions bf16 f32]

BEDSTONE is the binary, PYTHON an interpreter with torch; --candle and --burn are the binaries built from the folders of
those names, which train in f32 only. Raw rows go to --out, one JSON object a line; the table goes to
standard output. Nothing else should run on the machine meanwhile.
"""
import argparse, json, os, platform, statistics, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent


def variants(args, model):
    """Name, command of each competitor, in the order in which a round runs them."""
    torch = [args.python, str(HERE / "torch_train.py")]
    ours = [args.bedstone, "bench", "train", "--json", "--model", model, "--threads", str(args.threads)]
    theirs = ["--model", model, "--threads", str(args.threads), "--steps", str(args.steps)]
    rows = [
        ("bedstone bf16", ours + ["--precision", "bf16", "--steps", str(args.steps)]),
        ("torch bf16", torch + ["bf16"] + theirs),
        ("torch bf16 compiled", torch + ["bf16", "--compile"] + theirs),
        ("bedstone f32", ours + ["--precision", "f32", "--steps", str(args.steps)]),
        ("torch f32", torch + ["f32"] + theirs),
    ]
    rows += [(f"{peer} f32", [path, "f32"] + theirs) for peer in ("candle", "burn") if (path := getattr(args, peer))]
    rows = [(n, c) for n, c in rows if n.split()[1] in args.precisions]
    return [(n, c) for n, c in rows if not (args.no_compile and "compiled" in n)]


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.processor()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("bedstone")
    a.add_argument("python")
    a.add_argument("--candle", metavar="PATH")
    a.add_argument("--burn", metavar="PATH")
    a.add_argument("--models", nargs="+", default=["gpt-6m", "gpt-17m", "gpt-163m"])
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--steps", type=int, default=7)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--out", default="rows.jsonl")
    a.add_argument("--no-compile", action="store_true")
    a.add_argument("--precisions", nargs="+", choices=["bf16", "f32"], default=["bf16", "f32"])
    args = a.parse_args()
    rows = []
    with open(args.out, "a") as out:
        for model in args.models:
            for r in range(args.rounds):
                for name, command in variants(args, model):
                    done = subprocess.run(command, capture_output=True, text=True)
                    if done.returncode != 0:
                        print(f"{name} {model}: {done.stderr[-500:]}", file=sys.stderr)
                        continue
                    row = json.loads(done.stdout.strip().splitlines()[-1])
                    row = dict(row, who=name, round=r, date=time.strftime("%Y-%m-%d"), cpu=cpu())
                    rows.append(row)
                    print(json.dumps(row), file=out, flush=True)
                    print(f"{model} round {r} {name}: best {row['best']}", file=sys.stderr)
    print("| model | | best tok/s | median tok/s | peak memory, MiB | of the better torch |\n|---|---|---|---|---|---|")
    for model in args.models:
        of = lambda who: [row for row in rows if row["model"] == model and row["who"] == who]
        names = list(dict.fromkeys(row["who"] for row in rows if row["model"] == model))
        best = lambda who: max((row["best"] for row in of(who)), default=0)
        for who in names:
            kind = "bf16" if "bf16" in who else "f32"
            peer = max((best(n) for n in names if n.startswith("torch") and kind in n), default=0)
            median = statistics.median(row.get("per_s", row.get("tokens_per_s")) for row in of(who))
            memory = min(row["peak_memory_bytes"] for row in of(who)) / 2**20
            ratio = f"{best(who) / peer:.2f}" if who.startswith("bedstone") and peer else ""
            print(f"| {model} | {who} | {best(who):,.0f} | {median:,.0f} | {memory:,.0f} | {ratio} |")


main()
