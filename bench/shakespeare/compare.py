"""Trains one small GPT-2 on all of Shakespeare twice, in bedstone and in PyTorch, and compares the losses.

    python compare.py BEDSTONE DATA WORK [--steps N] [--threads T] [--noise]

Both sides have the same initial weights, tokenizer, windows of tokens in the same order, steps and settings, in
float32. WORK must not exist; it takes about 200 MB. Writes results.json and README.md beside this script.
`--noise` trains a third time, in PyTorch with another attention kernel: how far rounding alone drives two runs apart.
"""

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from datetime import date
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
# Threads that wait do not spin: the machine may have other work.
os.environ["OMP_WAIT_POLICY"] = "passive"

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import report
import shards

VOCAB, CONTEXT, BATCH = 4096, 256, 8
LAYERS, WIDTH, HEADS = 4, 256, 4
EVALUATE_EVERY = 200
# Windows at a time of the check of the order, whose model is tiny.
CHECK_BATCH = 64
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"]
PROMPTS = ["", "KING HENRY.\n", "HAMLET.\nTo be, or not to be,"]


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True)
    data = make_tokens(args)
    tokens = {
        "texts": len(data.manifest["sources"]),
        "bytes": sum(source["size"] for source in data.manifest["sources"]),
        "vocabulary": VOCAB,
        "training": len(data.train),
        "validation": len(data.validation),
        "validation_texts": [Path(path).name for path in data.validation_files()],
    }
    print("tokens:", tokens, flush=True)

    order = check_order(args, data)
    print("order:", order, flush=True)

    init = args.work / "init"
    make_init(init, args.work / "tokenizer", LAYERS, WIDTH, HEADS, 0.02)
    ours = bedstone_run(args, init)
    print("bedstone:", ours["validation"], f"{ours['seconds']:.0f} s", flush=True)
    recipe = tomllib.loads((ours["dir"] / "recipe.toml").read_text())
    theirs = torch_run(args, data, recipe, init, "sdpa")
    results = {
        "date": date.today().isoformat(),
        "machine": machine(args),
        "versions": {
            "bedstone": output([args.bedstone, "--version"]).split()[-1],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "tokens": tokens,
        "model": {"layers": LAYERS, "width": WIDTH, "heads": HEADS, "context": CONTEXT, "parameters": ours["parameters"]},
        "train": {key: value for key, value in recipe["train"].items() if key not in ("init", "keep")},
        "order_check": order,
        "bedstone": curves(ours),
        "pytorch": curves(theirs),
        "cross": cross(args, data, ours, theirs),
        "samples": [sample(args, ours["dir"], prompt) for prompt in PROMPTS],
    }
    write(results)
    if args.noise:
        results["pytorch_eager"] = curves(torch_run(args, data, recipe, init, "eager"))
        write(results)
    wanted = abs(results["bedstone"]["final"] / results["pytorch"]["final"] - 1) <= 0.01
    sys.exit(0 if wanted else 1)


def write(results):
    here = Path(__file__).parent
    (here / "results.json").write_text(json.dumps(results) + "\n")
    (here / "README.md").write_text(report.readme(json.loads(json.dumps(results))))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bedstone", help="the binary")
    parser.add_argument("data", help="a folder with the texts")
    parser.add_argument("work", type=Path, help="a folder for runs, which does not exist yet")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--noise", action="store_true", help="train a third time, in PyTorch with eager attention")
    return parser.parse_args()


def make_tokens(args):
    """Trains the tokenizer and tokenises, by a bedstone run of one step; its log says where the tokens are."""
    small = {"tokenizer.vocab_size": VOCAB, "model.n_layer": 1, "model.n_embd": 32, "model.n_head": 1}
    small |= {"train.context": CONTEXT, "train.batch": 1}
    log = pretrain(args, "tokenizer", 1, small)
    return shards.Shards(re.search(r"^tokens: .* in (.+)$", log, re.MULTILINE).group(1))


def pretrain(args, name, steps, settings, *more):
    """Runs `bedstone pretrain gpt` and gives what it said."""
    settings = {"data.cache": args.work / "tokens", **settings}
    command = [args.bedstone, "pretrain", "gpt", "--data", args.data, "--out", args.work / name, "--steps", str(steps)]
    command += ["--threads", str(args.threads), "--precision", "f32", *more]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    (args.work / f"{name}.log").write_text(done.stderr)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}exit code {done.returncode}")
    return done.stderr


def make_init(path, tokenizer, layers, width, heads, std):
    """Random weights by transformers, with the tokenizer of the bedstone run."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=CONTEXT, n_embd=width, n_layer=layers, n_head=heads, initializer_range=std,
        embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(path)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer / name, path / name)


def check_order(args, data):
    """Trains with a learning rate of next to nothing, through every window of the comparison, and compares losses.

    The weights stay, so a loss depends on its batch alone: a window in another place would show at once.
    """
    init = args.work / "init-order"
    make_init(init, args.work / "tokenizer", 1, 32, 1, 0.5)
    steps = math.ceil(args.steps * BATCH / CHECK_BATCH)
    settings = {"train.lr": 1e-12, "train.context": CONTEXT, "train.batch": CHECK_BATCH, "train.weight_decay": 0.0}
    pretrain(args, "order", steps, settings | {"train.evaluate_every": 0}, "--init", init)
    got = [line["loss"] for line in log_lines(args.work / "order") if "loss" in line]
    model = load(init)
    batches = shards.training_batches(data.train, CONTEXT, CHECK_BATCH, seed=0)
    with torch.no_grad():
        want = [cross_entropy(model, *next(batches), "mean").item() for _ in range(steps)]
    gaps = np.abs(np.array(got) - want)
    result = {
        "windows": steps * CHECK_BATCH,
        "windows_per_epoch": (len(data.train) - 1) // CONTEXT,
        "largest_difference": float(gaps.max()),
        "standard_deviation_between_batches": float(np.std(want)),
    }
    assert gaps.max() < 1e-4 and np.std(want) > 100 * gaps.max(), f"the order of windows differs: {result}"
    return result


def bedstone_run(args, init):
    settings = {"train.context": CONTEXT, "train.batch": BATCH, "train.evaluate_every": EVALUATE_EVERY}
    settings |= {"train.checkpoint_every": 0, "evaluate.tokens": 0}
    began = time.monotonic()
    log = pretrain(args, "bedstone", args.steps, settings, "--init", init)
    lines = log_lines(args.work / "bedstone")
    return {
        "dir": args.work / "bedstone",
        "seconds": time.monotonic() - began,
        "parameters": re.search(r"parameters +(.+)", log).group(1),
        "losses": [line["loss"] for line in lines if "loss" in line],
        "grad_norms": [line["grad_norm"] for line in lines if "loss" in line],
        "validation": {line["step"]: line["val_loss"] for line in lines if "val_loss" in line},
    }


def log_lines(run):
    return [json.loads(line) for line in (run / "training" / "log.jsonl").read_text().splitlines()]


def torch_run(args, data, recipe, init, attention):
    """The same run in PyTorch, by the settings of the bedstone run's resolved recipe."""
    t = recipe["train"]
    assert t["schedule"] == "cosine" and t["micro_batch"] == 0
    model = load(init, attention).train()
    decays = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decays, "weight_decay": t["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=t["lr"], betas=(t["beta1"], t["beta2"]), eps=t["eps"])
    batches = shards.training_batches(data.train, t["context"], t["batch"], t["seed"])
    # PyTorch adds up squares in float32, which loses small ones: the norm in float64 tells how much.
    losses, norms, norms64, validation = [], [], [], {}
    began = time.monotonic()
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(t, step)
        loss = cross_entropy(model, *next(batches), "mean")
        optimizer.zero_grad()
        loss.backward()
        if step < 10:
            norms64.append(sum((p.grad.double() ** 2).sum() for p in model.parameters()).sqrt().item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), t["clip"]).item())
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == args.steps:
            validation[step + 1] = evaluate(model, data)
            print(f"pytorch {attention}: step {step + 1} {losses[-1]:.4f} {validation[step + 1]:.5f}", flush=True)
    path = args.work / f"pytorch-{attention}"
    model.save_pretrained(path)
    for name in TOKENIZER_FILES:
        shutil.copy(init / name, path / name)
    seconds = time.monotonic() - began
    return {
        "dir": path,
        "seconds": seconds,
        "losses": losses,
        "grad_norms": norms,
        "grad_norms_float64": norms64,
        "validation": validation,
    }


def learning_rate(t, step):
    """Warm-up by a straight line, then half a cosine down to a share of the top."""
    if step < t["warmup"]:
        return t["lr"] * (step + 1) / (t["warmup"] + 1)
    done = min((step - t["warmup"]) / max(t["steps"] - t["warmup"], 1), 1.0)
    return t["lr"] * (t["min_lr"] + (1 - t["min_lr"]) * 0.5 * (1 + math.cos(math.pi * done)))


def load(path, attention="sdpa"):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation=attention).eval()


def cross_entropy(model, ids, labels, reduction):
    logits = model(input_ids=torch.from_numpy(ids), use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(labels).flatten(), reduction=reduction)


@torch.no_grad()
def evaluate(model, data):
    """The mean loss over all of the validation split, by PyTorch."""
    model.eval()
    batches = shards.evaluation_batches(data.validation, CONTEXT, 16)
    total = sum(cross_entropy(model, ids, labels, "sum").double().item() for ids, labels in batches)
    model.train()
    return total / (len(data.validation) - 1)


def cross(args, data, ours, theirs):
    """The final weights of each side, evaluated by the other one too."""
    files = data.validation_files()

    def by_bedstone(path):
        command = [args.bedstone, "eval", path, "--data", *files, "--context", str(CONTEXT), "--json"]
        command += ["--precision", "f32", "--threads", str(args.threads)]
        env = os.environ | {"BEDSTONE_CACHE": str(args.work / "eval-cache")}
        got = json.loads(output(command, env))
        assert got["tokens"] == len(data.validation) - 1, got
        return got["loss"]

    return {
        "bedstone_weights_by_pytorch": evaluate(load(ours["dir"]), data),
        "bedstone_weights_by_bedstone_eval": by_bedstone(ours["dir"]),
        "pytorch_weights_by_pytorch": evaluate(load(theirs["dir"]), data),
        "pytorch_weights_by_bedstone_eval": by_bedstone(theirs["dir"]),
    }


def sample(args, path, prompt):
    command = [args.bedstone, "generate", path, "--prompt", prompt, "--max-tokens", "200", "--seed", "1", "--json"]
    got = json.loads(output(command))
    return {"prompt": prompt, "text": got["text"], "tokens": got["tokens"]}


def curves(run):
    return {
        **{key: run[key] for key in ["grad_norms_float64"] if key in run},
        "final": run["validation"][max(run["validation"])],
        "validation": run["validation"],
        "losses": run["losses"],
        "grad_norms": run["grad_norms"],
        "seconds": round(run["seconds"], 1),
    }


def machine(args):
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    doctor = re.search(r"would run +(.+)", output([args.bedstone, "doctor"]))
    return {"cpu": names[0], "cores": len(names), "threads": args.threads, "bedstone_runs": doctor.group(1)}


def output(command, env=None):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, env=env).stdout


if __name__ == "__main__":
    main()
