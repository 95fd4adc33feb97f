"""The entropy of single tokens, in nats: what guessing masked tokens by their frequency alone would cost.

    python bench/bert/unigram.py DOCUMENTS.jsonl RUN
"""

import collections
import json
import math
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(f"{sys.argv[2]}/tokenizer.json")
counts = collections.Counter()
batch = []
for line in open(sys.argv[1], encoding="utf-8"):
    batch.append(json.loads(line)["text"])
for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
    counts.update(encoding.ids)
n = sum(counts.values())
print(f"{-sum(c / n * math.log(c / n) for c in counts.values()):.4f} nats over {n:,} tokens, {len(counts):,} of them different")
