"""Reads the token shards of a bedstone run, and draws windows in the order in which it trains on them.

Written from the formats alone, so that a comparison also proves what they say: `manifest.json`, little-endian ids in
files of equal size, a keyed permutation of window numbers for each epoch.
"""

import json
from pathlib import Path

import numpy as np

MASK = (1 << 64) - 1
ROUNDS = 8


def mix(key, value):
    """A 64-bit hash of `value` under `key`."""
    return mix_round((mix_round(value ^ mix_round(key)) + key) & MASK)


def mix_round(value):
    z = (value + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Permutation:
    """A keyed bijection of `0..length`: a Feistel network on the next power of four, walked back into the range."""

    def __init__(self, length, key):
        self.length = length
        self.bits = max(((length - 1).bit_length() + 1) // 2, 1)
        self.keys = [mix(key, r) for r in range(ROUNDS)]

    def at(self, index):
        value = self.step(index)
        while value >= self.length:
            value = self.step(value)
        return value

    def step(self, value):
        mask = (1 << self.bits) - 1
        left, right = value >> self.bits, value & mask
        for key in self.keys:
            left, right = right, left ^ (mix(key, right) & mask)
        return left << self.bits | right


class Shards:
    """A directory of shards: `train` and `validation` are arrays of ids."""

    def __init__(self, path):
        self.path = Path(path)
        self.manifest = json.loads((self.path / "manifest.json").read_text())
        assert self.manifest["format"] == 1, f"{path}: format {self.manifest['format']}, this script reads 1"
        self.train = self.split("train")
        self.validation = self.split("validation")

    def split(self, name):
        span = self.manifest[name]
        dtype = {2: "<u2", 4: "<u4"}[self.manifest["token_bytes"]]
        files = self.manifest["series"][span["series"]]["shards"]
        ids = np.concatenate([np.fromfile(self.path / file["file"], dtype) for file in files])
        return ids[span["begin"] : span["end"]].astype(np.int64)

    def validation_files(self):
        """The source files, one document each, that the split put into validation."""
        split = self.manifest["split"]
        assert split["rule"] == "documents", f"split by {split}"
        n, seed = split["one_in"], split["seed"]
        paths = [source["path"] for source in self.manifest["sources"]]
        return [path for i, path in enumerate(paths) if mix(seed, i // n) % n == i % n]


def training_windows(ids, length, seed):
    """First tokens of the training windows, epoch after epoch, without end."""
    windows = (len(ids) - 1) // length
    epoch = 0
    while True:
        order = Permutation(windows, mix(seed, epoch))
        for index in range(windows):
            yield order.at(index) * length
        epoch += 1


def training_batches(ids, length, batch, seed):
    """`(inputs, labels)`, each `[batch, length]`, without end."""
    begins = training_windows(ids, length, seed)
    while True:
        rows = np.stack([ids[b : b + length + 1] for b in (next(begins) for _ in range(batch))])
        yield rows[:, :-1], rows[:, 1:]


def evaluation_batches(ids, length, batch):
    """`(inputs, labels)` in which each id but the first is a label once; the rest of the last window is label -100."""
    labels = len(ids) - 1
    windows = -(-labels // length)
    inputs = np.zeros(windows * length, np.int64)
    targets = np.full(windows * length, -100, np.int64)
    inputs[:labels], targets[:labels] = ids[:-1], ids[1:]
    inputs, targets = inputs.reshape(windows, length), targets.reshape(windows, length)
    for begin in range(0, windows, batch):
        yield inputs[begin : begin + batch], targets[begin : begin + batch]
