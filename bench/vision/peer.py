"""One side of `speed.py`: PyTorch or onnxruntime on a ViT-B/16 or a YOLOS-S with random weights, as `transformers` builds them.

    python peer.py torch|onnxruntime train|infer vit-b16|yolos-s f32|bf16 [--batch N] [--threads 2] [--steps 7] [--compile]

Prints one JSON line: pictures a second at the median and at best, and the process's peak memory. Training: forward, backward, AdamW (fused),
bf16 by autocast. Inference: bf16 by weights of bf16, which is torch's fastest; onnxruntime has f32 only, with its fusions of attention,
GELU and layer norms where it finds them.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

SIZES = {"vit-b16": (224, 224), "yolos-s": (512, 864)}
OBJECTS = 7


def build(name, **more):
    from transformers import ViTConfig, ViTForImageClassification, YolosConfig, YolosForObjectDetection

    torch.manual_seed(0)
    plain = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_hidden_layers=12, **more)
    if name == "vit-b16":
        return ViTForImageClassification(ViTConfig(num_labels=1000, **plain))
    sizes = dict(hidden_size=384, num_attention_heads=6, intermediate_size=1536, image_size=list(SIZES[name]))
    return YolosForObjectDetection(YolosConfig(num_labels=91, num_detection_tokens=100, **sizes, **plain))


def labels(name, batch):
    if name == "vit-b16":
        return torch.arange(batch) * 31 % 1000
    boxes = torch.tensor([[0.1 + 0.8 * (k * 3 % OBJECTS) / OBJECTS, 0.1 + 0.8 * (k + 2) % 1, 0.15, 0.2] for k in range(OBJECTS)])
    return [dict(class_labels=torch.arange(OBJECTS) * 5 % 91, boxes=boxes) for _ in range(batch)]


def torch_pass(a):
    model, pixels = build(a.model), torch.rand(a.batch, 3, *SIZES[a.model]) * 2 - 1
    half = a.precision == "bf16"
    if a.what == "infer":
        model = model.eval()
        if half:
            model, pixels = model.bfloat16(), pixels.bfloat16()
        forward = torch.compile(model) if a.compile else model

        def step():
            with torch.inference_mode():
                forward(pixel_values=pixels)

        return step
    model = model.train()
    forward = torch.compile(model) if a.compile else model
    optimizer, wanted = torch.optim.AdamW(model.parameters(), fused=True), labels(a.model, a.batch)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = forward(pixel_values=pixels, labels=wanted).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def onnx_pass(a):
    import numpy
    import onnxruntime
    from onnxruntime.transformers import optimizer

    path = Path(tempfile.gettempdir()) / f"bedstone-bench-{a.model}-{a.batch}.onnx"
    if not path.exists():
        plain, model = path.with_suffix(".plain.onnx"), build(a.model, attn_implementation="eager").eval()
        pixels = torch.rand(a.batch, 3, *SIZES[a.model])
        with torch.no_grad():
            torch.onnx.export(model, (pixels,), str(plain), input_names=["pixel_values"], opset_version=17, dynamo=False)
        width, heads = model.config.hidden_size, model.config.num_attention_heads
        fused = optimizer.optimize_model(str(plain), model_type="vit", num_heads=heads, hidden_size=width, opt_level=1)
        print("fused operators:", fused.get_fused_operator_statistics(), file=sys.stderr)
        fused.save_model_to_file(str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = a.threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    pixels = numpy.random.rand(a.batch, 3, *SIZES[a.model]).astype("float32")
    return lambda: session.run(None, {"pixel_values": pixels})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("peer", choices=["torch", "onnxruntime"])
    p.add_argument("what", choices=["train", "infer"])
    p.add_argument("model", choices=SIZES)
    p.add_argument("precision", choices=["f32", "bf16"])
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=7)
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    step = torch_pass(a) if a.peer == "torch" else onnx_pass(a)
    times = []
    for _ in range(a.steps + 2):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times = sorted(times[2:])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rate = lambda seconds: round(a.batch / seconds, 2)
    row = dict(model=a.model, batch=a.batch, precision=a.precision, threads=a.threads)
    print(json.dumps(row | dict(per_s=rate(times[len(times) // 2]), best=rate(times[0]), peak_memory_bytes=memory)))


main()
