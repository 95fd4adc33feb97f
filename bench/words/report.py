"""The table of README.md from rows of run.py: python report.py rows.jsonl

Seconds and memory of the fastest round; scores as mean and sample standard deviation over the rounds.
"""

import json
import statistics
import sys

rows = [json.loads(line) for path in sys.argv[1:] for line in open(path)]
names = list(dict.fromkeys(row["program"] for row in rows))
print("| program | wall, s | processors, s | training, words/s (GloVe: pairs/s) | memory, MiB | analogies | wordsim353 | simlex999 |")
print("|---|---|---|---|---|---|---|---|")
for name in names:
    own = [row for row in rows if row["program"] == name]
    best = min(own, key=lambda row: row["seconds"])
    cpu, speed = best.get("cpu_seconds"), max((row["training_per_s"] or 0) for row in own)
    cells = [name, best["seconds"], cpu or "", f"{speed:,}" if speed else "", round(best["memory_mib"])]
    for key in ("questions-words", "wordsim353", "simlex999"):
        scores = [row[key] for row in own if key in row]
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        cells.append(f"{statistics.mean(scores):.4f}{spread}")
    print("| " + " | ".join(str(cell) for cell in cells) + " |")
