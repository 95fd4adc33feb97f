"""Fine-tuning on reviews: pretrained against random weights, and beside the Trainer of `transformers`.

    python bench/bert/finetune.py BEDSTONE REVIEWS WORK --pretrained DIR [--minilm DIR] [--seeds 5] --out rows.jsonl

REVIEWS: the folder with movieReviewSnippets_GroundTruth.txt of PyPI's vaderSentiment 3.3.2: sentences with a score from -4 to 4,
here positive or negative by its sign. In an order drawn once, 2,000 of them are for training and 2,000 held out. All runs have
the same settings; what is told is accuracy and F1 on the held-out sentences after the best of the epochs.
"""

import argparse
import json
import pathlib
import random
import subprocess
import time

EPOCHS, BATCH, WARMUP, DECAY, LENGTH = 3, 16, 0.1, 0.01, 128


def sentences(reviews):
    rows = []
    for line in open(reviews / "movieReviewSnippets_GroundTruth.txt", encoding="utf-8", errors="replace"):
        _, score, text = line.rstrip("\n").split("\t", 2)
        if float(score) != 0:
            rows.append((" ".join(text.split()), "positive" if float(score) > 0 else "negative"))
    random.Random(0).shuffle(rows)
    return rows[:2000], rows[2000:4000]


def write(path, rows):
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")


def bedstone(a, model, lr, *more):
    out = a.work / "model"
    subprocess.run(["rm", "-rf", out], check=True)
    command = [a.bedstone, "finetune", model, "--task", "classify", "--data", a.work / "train.tsv", "--eval", a.work / "test.tsv", "--out", out,
               "--seed", a.first, "--seeds", a.seeds, "--epochs", EPOCHS, "--json"]
    settings = {"train.batch": BATCH, "train.warmup": WARMUP, "train.weight_decay": DECAY, "train.max_length": LENGTH, "train.lr": lr}
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    start = time.time()
    said = subprocess.check_output([str(x) for x in [*command, *more]], stderr=subprocess.DEVNULL)
    seconds = (time.time() - start) / a.seeds
    for row in json.loads(said)["seeds"]:
        yield {"seed": row["seed"], "accuracy": row["scores"]["accuracy"], "macro_f1": row["scores"]["macro F1"], "seconds": round(seconds, 1)}


def trainer(a, lr):
    import numpy as np
    import torch
    from datasets import Dataset
    from sklearn.metrics import accuracy_score, f1_score
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(a.minilm)
    names = ["negative", "positive"]

    def dataset(rows):
        data = tokenizer([text for text, _ in rows], truncation=True, max_length=LENGTH)
        return Dataset.from_dict({**data, "labels": [names.index(label) for _, label in rows]})

    train, test = map(dataset, sentences(a.reviews))

    def metrics(p):
        predicted = np.argmax(p.predictions, -1)
        return {"accuracy": accuracy_score(p.label_ids, predicted), "macro_f1": f1_score(p.label_ids, predicted, average="macro")}

    for seed in range(a.first, a.first + a.seeds):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(a.minilm, num_labels=2)
        arguments = TrainingArguments(
            output_dir=str(a.work / "trainer"), seed=seed, num_train_epochs=EPOCHS, learning_rate=lr, per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=64, warmup_steps=WARMUP, weight_decay=DECAY, eval_strategy="epoch", save_strategy="epoch",
            save_total_limit=1, load_best_model_at_end=True, metric_for_best_model="accuracy", report_to=[], use_cpu=True,
            disable_tqdm=True, logging_strategy="no",
        )
        t = Trainer(model=model, args=arguments, train_dataset=train, eval_dataset=test, compute_metrics=metrics,
                    data_collator=DataCollatorWithPadding(tokenizer))
        start = time.time()
        t.train()
        seconds = time.time() - start
        found = t.evaluate()
        yield {"seed": seed, "accuracy": found["eval_accuracy"], "macro_f1": found["eval_macro_f1"], "seconds": round(seconds, 1)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bedstone")
    p.add_argument("reviews", type=pathlib.Path)
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--pretrained")
    p.add_argument("--minilm")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--first", type=int, default=0, help="the first seed")
    p.add_argument("--only", help="the name of one run")
    p.add_argument("--lr", type=float, default=5e-5)
    p.add_argument("--own-lr", type=float, default=2e-4)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    train, test = sentences(a.reviews)
    write(a.work / "train.tsv", train)
    write(a.work / "test.tsv", test)
    runs = []
    if a.pretrained:
        runs += [("own BERT, pretrained", lambda: bedstone(a, a.pretrained, a.own_lr)),
                 ("own BERT, random weights", lambda: bedstone(a, a.pretrained, a.own_lr, "--set", "train.random_weights=true"))]
    if a.minilm:
        runs += [("MiniLM, bedstone f32", lambda: bedstone(a, a.minilm, a.lr, "--precision", "f32")),
                 ("MiniLM, bedstone bf16", lambda: bedstone(a, a.minilm, a.lr, "--precision", "bf16")),
                 ("MiniLM, Trainer", lambda: trainer(a, a.lr))]
    with open(a.out, "a") as out:
        for name, run in [(name, run) for name, run in runs if a.only in (None, name)]:
            for row in run():
                row = {"run": name, **row}
                print(json.dumps(row), flush=True)
                out.write(json.dumps(row) + "\n")
                out.flush()


main()
