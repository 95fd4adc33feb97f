"""Whether `transformers` opens checkpoints of pictures that Bedstone wrote, and says the same of pictures.

    python bench/vision/opens.py BEDSTONE CLASSIFIER DETECTOR PICTURE…
"""

import json
import subprocess
import sys

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForObjectDetection

bedstone, classifier, detector, *pictures = sys.argv[1:]


def say(*command):
    out = subprocess.check_output([bedstone, *command, *pictures, "--json", "--precision", "f32"], stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in out.splitlines()]


worst = 0.0
processor = AutoImageProcessor.from_pretrained(classifier)
model = AutoModelForImageClassification.from_pretrained(classifier).eval()
for row in say("classify", classifier, "--top", "100"):
    with torch.no_grad():
        p = model(**processor(Image.open(row["picture"]).convert("RGB"), return_tensors="pt")).logits.softmax(-1)[0]
    for label in row["labels"]:
        worst = max(worst, abs(label["score"] - p[model.config.label2id[label["label"]]].item()))
print(f"classes: probabilities differ by at most {worst:.1e}")

processor = AutoImageProcessor.from_pretrained(detector)
model = AutoModelForObjectDetection.from_pretrained(detector).eval()
worst, count = 0.0, 0
# Without the suppression that `transformers` does not know.
for row in say("detect", detector, "--threshold", "0.3", "--nms", "0"):
    image = Image.open(row["picture"]).convert("RGB")
    with torch.no_grad():
        out = model(**processor(image, return_tensors="pt"))
    want = processor.post_process_object_detection(out, threshold=0.3, target_sizes=[(image.height, image.width)])[0]
    assert len(want["scores"]) == len(row["objects"]), (row, want)
    order = want["scores"].argsort(descending=True)
    for i, found in zip(order, row["objects"]):
        assert model.config.id2label[want["labels"][i].item()] == found["label"]
        worst = max(worst, abs(want["scores"][i].item() - found["score"]))
        box = torch.tensor(found["box"])
        clipped = want["boxes"][i].clone()
        clipped[0::2], clipped[1::2] = clipped[0::2].clamp(0, image.width), clipped[1::2].clamp(0, image.height)
        worst = max(worst, (box - clipped).abs().max().item() / max(image.size))
        count += 1
print(f"objects: {count}; scores, and boxes as shares of the picture, differ by at most {worst:.1e}")
