"""The table of README.md from rows of finetune.py: python report.py rows.jsonl"""

import json
import statistics
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
print("| | seeds | accuracy, mean ± standard error | macro F1 | seconds a seed |\n|---|---|---|---|---|")
for name in dict.fromkeys(row["run"] for row in rows):
    own = [row for row in rows if row["run"] == name]
    accuracy = [row["accuracy"] for row in own]
    error = statistics.stdev(accuracy) / len(own) ** 0.5 if len(own) > 1 else float("nan")
    f1, seconds = (statistics.mean(row[key] for row in own if row[key] is not None) for key in ("macro_f1", "seconds"))
    print(f"| {name} | {len(own)} | {statistics.mean(accuracy):.4f} ± {error:.4f} | {f1:.4f} | {seconds:.0f} |")
