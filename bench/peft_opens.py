"""Adapters of bedstone in `peft`, and of `peft` in bedstone.

    python bench/peft_opens.py BEDSTONE [MODEL]

MODEL: an encoder's directory [default: tests/fixtures/bert-seqcls]. Fine-tunes it by LoRA, once merged and once as an adapter,
and compares probabilities: `bedstone classify` on both, and `transformers` with `peft`; then the other way round. Exits with 1 if
any differ by more than 1e-5.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FIXTURE = pathlib.Path(__file__).resolve().parents[1] / "tests/fixtures/bert-seqcls"
TEXTS = ["good day number 3", "a bad day", "days and nights"]


def main():
    bedstone, base = sys.argv[1], str(sys.argv[2] if len(sys.argv) > 2 else FIXTURE)
    worst = 0.0

    def run(*args):
        done = subprocess.run([bedstone, *map(str, args)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout

    def ours(model):
        rows = run("classify", model, *TEXTS, "--json", "--precision", "f32", "--top", 9).splitlines()
        probabilities = [{one["label"]: one["score"] for one in json.loads(row)["labels"]} for row in rows]
        return [[p[label] for label in sorted(p)] for p in probabilities]

    def theirs(model, tokenizer):
        labels = model.config.id2label
        with torch.no_grad():
            logits = [model.eval()(**tokenizer(t, return_tensors="pt")).logits[0] for t in TEXTS]
        order = sorted(labels, key=lambda i: labels[i])
        return [[float(x.softmax(-1)[i]) for i in order] for x in logits]

    def compare(what, a, b):
        nonlocal worst
        difference = max(abs(x - y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))
        worst = max(worst, difference)
        print(f"{what:55} {difference:.1e}")

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        rows = [f"{'good' if i % 2 else 'bad'} day number {i}\t{'positive' if i % 2 else 'negative'}\n" for i in range(80)]
        (work / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
        common = ["finetune", base, "--task", "classify", "--data", work / "train.tsv", "--lora", 4, "--precision", "f32"]
        common += ["--set", "train.lr=1e-2", "--set", "train.max_length=24"]
        run(*common, "--out", work / "merged")
        run(*common, "--out", work / "adapter", "--set", "lora.save=adapter")
        merged, adapter = ours(work / "merged"), ours(work / "adapter")
        tokenizer = AutoTokenizer.from_pretrained(work / "adapter")
        compare("merged and adapter in bedstone", merged, adapter)
        again = AutoModelForSequenceClassification.from_pretrained(work / "merged")
        compare("merged in transformers", merged, theirs(again, tokenizer))
        names = {"id2label": again.config.id2label, "label2id": again.config.label2id}
        model = AutoModelForSequenceClassification.from_pretrained(base, ignore_mismatched_sizes=True, **names)
        compare("adapter in peft", merged, theirs(PeftModel.from_pretrained(model, work / "adapter"), tokenizer))

        for targets, rslora in [(["query", "value"], False), ("all-linear", True)]:
            model = AutoModelForSequenceClassification.from_pretrained(base, ignore_mismatched_sizes=True, num_labels=3)
            config = LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=5, target_modules=targets, use_rslora=rslora)
            model = get_peft_model(model, config)
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(p, std=0.1)
            out = work / f"peft-{rslora}"
            model.save_pretrained(out)
            AutoTokenizer.from_pretrained(base).save_pretrained(out)
            compare(f"adapter of peft in bedstone ({targets})", ours(out), theirs(model, tokenizer))
    sys.exit(worst > 1e-5)


main()
