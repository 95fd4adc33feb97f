"""The table of README.md from rows of run.py: python report.py rows.jsonl"""

import json
import sys

rows = [json.loads(line) for path in sys.argv[1:] for line in open(path)]
names = list(dict.fromkeys(row["program"] for row in rows))
print("| program | wall, s | processors, s | training, words/s (GloVe: pairs/s) | memory, MiB | analogies | wordsim353 | simlex999 |")
print("|---|---|---|---|---|---|---|---|")
for name in names:
    own = [row for row in rows if row["program"] == name]
    best = min(own, key=lambda row: row["seconds"])
    # The last build that was measured.
    scores = next((row for row in reversed(own) if "wordsim353" in row), {})
    cpu, speed = best.get("cpu_seconds"), max((row["training_per_s"] or 0) for row in own)
    cells = [name, best["seconds"], cpu or "", f"{speed:,}" if speed else "", round(best["memory_mib"])]
    cells += [scores.get(key, "") for key in ("questions-words", "wordsim353", "simlex999")]
    print("| " + " | ".join(str(cell) for cell in cells) + " |")
