"""Checkpoints that bedstone fine-tuned, in the pipelines of `transformers`: the same answers?

    python bench/pipelines_open.py BEDSTONE ENCODER

ENCODER: an encoder's directory, such as all-MiniLM-L6-v2. Fine-tunes it for a moment on the embedded World, to classes, tags and
answers, and compares labels, spans, answers and scores of `bedstone classify|tag|answer` with those of the pipelines, on
sentences and questions that were not trained on. Exits with 1 if a label, span or answer differs, or a score by more than 1e-4.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline


def answer(network, tokenizer, question, context, longest=15):
    """What the pipeline for questions did, which is no longer in `transformers`, for a context of one window."""
    e = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = e.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        out = network.eval()(**e)
    among = torch.tensor([i == 1 for i in e.sequence_ids(0)])
    # The first token stands for "no answer": it takes its share of the probability, and is no answer here.
    shares = among.clone()
    shares[0] = True
    start, end = (torch.where(shares, x[0], -torch.inf).softmax(-1) * among for x in (out.start_logits, out.end_logits))
    spans = torch.triu(start[:, None] * end[None, :]).tril(longest - 1)
    first, last = divmod(int(spans.argmax()), len(among))
    begin, stop = offsets[first][0], offsets[last][1]
    return begin, stop, context[begin:stop], float(spans[first, last])


def main():
    bedstone, encoder = sys.argv[1:3]
    wrong = []

    def run(*args):
        done = subprocess.run([bedstone, *map(str, args)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{args}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def compare(task, place, ours, theirs):
        same = len(ours) == len(theirs) and all(a[:-1] == b[:-1] and abs(a[-1] - b[-1]) <= 1e-4 for a, b in zip(ours, theirs))
        if not same:
            wrong.append(task)
            print(f"{task} {place}: {ours} and {theirs}")

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)

        def tuned(task, count, length):
            out = work / task
            more = ["--set", f"data.sentences={count}", "--set", f"train.max_length={length}", "--set", "train.lr=2e-4", "--precision", "f32"]
            run("finetune", encoder, "--task", task, "--epochs", 1, "--out", out, *more)
            return out

        texts = [
            "A red bird sits on a green box in the forest.",
            "Two small dogs in blue hats run over the beach.",
            "The old owl flew home.",
            "Nobody saw the yellow cat behind the big tree!",
        ]
        model = tuned("classify", 200, 64)
        theirs = pipeline("text-classification", model=str(model), top_k=3)
        for text, row in zip(texts, run("classify", model, *texts, "--top", 3, "--json", "--precision", "f32")):
            compare("classify", text, [(x["label"], x["score"]) for x in row["labels"]], [(x["label"], x["score"]) for x in theirs([text])[0]])

        model = tuned("tag", 200, 128)
        for strategy in ("simple", "first"):
            theirs = pipeline("token-classification", model=str(model), aggregation_strategy=strategy)
            for text, row in zip(texts, run("tag", model, *texts, "--aggregation", strategy, "--json", "--precision", "f32")):
                span = lambda x: (x.get("entity_group", x.get("label")), x["start"], x["end"], float(x["score"]))
                compare(f"tag ({strategy})", text, [span(x) for x in row["entities"]], [span(x) for x in theirs(text)])

        model = tuned("answer", 40, 128)
        network = AutoModelForQuestionAnswering.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
        context = " ".join(texts)
        for question in ["Where does the bird sit?", "What do the dogs wear?", "Who flew home?"]:
            row = run("answer", model, "--question", question, "--context", context, "--json", "--precision", "f32")[0]
            best = row["answers"][0]
            ours = (best["start"], best["end"], best["answer"], best["score"])
            compare("answer", question, [ours], [answer(network, tokenizer, question, context)])
    print("differs: " + ", ".join(sorted(set(wrong))) if wrong else "all the same")
    sys.exit(bool(wrong))


main()
