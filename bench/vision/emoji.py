"""A masked autoencoder on emoji without labels, then few labelled ones: from its weights, and from random ones.

    python bench/vision/emoji.py BEDSTONE EMOJI WORK --out rows.jsonl [--steps 8000] [--shots 20] [--seeds 5]

EMOJI: emoji.json and png/ (64 by 64 pixels) of npm's emoji-datasource-twitter. All pictures, on white, are what the autoencoder learns
from; of each category `--shots` pictures have labels, and all others are for evaluation. Flags and parts of others are left out.
"""

import argparse
import json
import pathlib
import random
import subprocess
import time

from PIL import Image

OUT = {"Component", "Flags"}


def prepare(emoji, work, shots):
    pictures = work / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    names = {}
    for e in json.load(open(emoji / "emoji.json")):
        if e["has_img_twitter"]:
            names[e["image"]] = e["category"]
    for path in sorted((emoji / "png").glob("*.png")):
        to = pictures / path.name
        if not to.exists():
            image = Image.open(path).convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            Image.alpha_composite(white, image).convert("RGB").save(to)
    by = {}
    for name, category in sorted(names.items()):
        if category not in OUT and (pictures / name).exists():
            by.setdefault(category, []).append(name)
    few, rest = [], []
    for category, all_names in sorted(by.items()):
        random.Random(0).shuffle(all_names)
        few += [(n, category) for n in all_names[:shots]]
        rest += [(n, category) for n in all_names[shots:]]
    for file, rows in [("few.tsv", few), ("rest.tsv", rest)]:
        text = "path\tlabel\n" + "".join(f"pictures/{n}\t{c}\n" for n, c in rows)
        (work / file).write_text(text, encoding="utf-8")
    print(f"{len(few)} labelled, {len(rest)} for evaluation, {len(by)} categories", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bedstone")
    p.add_argument("emoji", type=pathlib.Path)
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--steps", type=int, default=8000)
    p.add_argument("--shots", type=int, default=20)
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--epochs", type=int, default=80)
    p.add_argument("--lr", nargs="+", default=["2e-4", "5e-4"])
    p.add_argument("--out", required=True)
    a = p.parse_args()
    prepare(a.emoji, a.work, a.shots)
    mae = a.work / "mae"
    start = time.time()
    if not (mae / "model.safetensors").exists():
        command = [a.bedstone, "pretrain", "mae", "--data", a.work / "pictures", "--out", mae, "--steps", a.steps,
                   "--set", "augment.scale=[0.4,1.0]"]
        subprocess.run([str(x) for x in command], check=True)
    print(f"pretraining: {time.time() - start:.0f} s", flush=True)
    with open(a.out, "a") as out:
        for lr in a.lr:
            for name, more in [("MAE", []), ("random weights", ["--set", "train.random_weights=true"])]:
                model = a.work / "model"
                subprocess.run(["rm", "-rf", model], check=True)
                command = [a.bedstone, "finetune", mae, "--task", "classify", "--data", a.work / "few.tsv", "--eval", a.work / "rest.tsv",
                           "--out", model, "--seeds", a.seeds, "--epochs", a.epochs, "--json", "--set", f"train.lr={lr}",
                           "--set", "train.evaluations=0", "--set", "augment.scale=[0.7,1.0]", *more]
                said = subprocess.check_output([str(x) for x in command], stderr=subprocess.DEVNULL)
                for row in json.loads(said)["seeds"]:
                    scores = row["scores"]
                    row = {"run": name, "lr": lr, "seed": row["seed"], "accuracy": scores["accuracy"], "macro_f1": scores["macro F1"]}
                    print(json.dumps(row), flush=True)
                    out.write(json.dumps(row) + "\n")


main()
