"""Sentence embeddings: bedstone beside sentence-transformers on torch and onnxruntime, on the same threads, interleaved.

    python bench/embeddings/run.py BEDSTONE MINILM REVIEWS [--rounds 5] [--threads 2] [--golden minilm.safetensors]

MINILM: the directory of all-MiniLM-L6-v2. REVIEWS: the folder with the *_GroundTruth.txt files of vaderSentiment 3.3.2.
Writes results.json beside this file and prints the table.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PRECISIONS = ["f32", "bf16", "int8"]


def texts(folder):
    """1,000 texts of mixed length: 700 sentences, 200 of three, 100 of eight."""
    sentences = []
    for path in sorted(Path(folder).glob("*_GroundTruth.txt")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        sentences.append([line.split("\t")[2].strip() for line in lines if line.count("\t") >= 2])
    # Spread over the files, without a random number: every n-th of each in turn.
    order = [s[(i * 37) % len(s)] for i in range(600) for s in sentences]
    order = iter(" ".join(s.split()) for s in order)
    sizes = [8 if i % 10 == 0 else 3 if i % 10 in (3, 7) else 1 for i in range(1000)]
    return [" ".join(next(order) for _ in range(n)) for n in sizes]


class Torch:
    """sentence-transformers, batches of 32 sorted by length, as it does by default."""

    name = "sentence-transformers, torch f32"

    def __init__(self, model, threads):
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(str(model), device="cpu")

    def embed(self, texts):
        return self.model.encode(texts, batch_size=32, show_progress_bar=False, normalize_embeddings=True)


class Onnx:
    """The same model as an ONNX graph with onnxruntime's transformer fusions, tokenised by tokenizers in batches that are
    sorted by length and padded to their longest text."""

    name = "onnxruntime f32"

    def __init__(self, model, threads):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        graph = str(self.graph(model))
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def graph(self, model):
        return export(model)

    def embed(self, texts):
        import numpy

        encodings = self.tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(encodings[i].ids))
        out = numpy.empty((len(texts), 384), dtype=numpy.float32)
        for at in range(0, len(order), 32):
            batch = order[at : at + 32]
            width = len(encodings[batch[0]].ids)
            ids = numpy.zeros((len(batch), width), dtype=numpy.int64)
            mask = numpy.zeros((len(batch), width), dtype=numpy.int64)
            for row, i in enumerate(batch):
                n = len(encodings[i].ids)
                ids[row, :n], mask[row, :n] = encodings[i].ids, 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
            (states,) = self.session.run(None, feed)
            pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            out[batch] = pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)
        return out


class OnnxInt8(Onnx):
    """The same after onnxruntime's dynamic quantisation: weights to int8 by output, activations by tensor."""

    name = "onnxruntime int8"

    def graph(self, model):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = Path(tempfile.gettempdir()) / "bedstone-bench-minilm-int8.onnx"
        if not path.exists():
            # Types behind fused operators are not inferred.
            options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
            source, kind = str(export(model)), QuantType.QInt8
            made = Path(tempfile.mkdtemp()) / path.name
            quantize_dynamic(source, str(made), per_channel=True, weight_type=kind, extra_options=options)
            made.replace(path)
        return path


def export(model):
    """The encoder as ONNX, with onnxruntime's fusions of attention, GELU and layer norms where they apply."""
    path = Path(tempfile.gettempdir()) / "bedstone-bench-minilm.onnx"
    if path.exists():
        return path
    import torch
    from transformers import AutoModel

    class States(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = AutoModel.from_pretrained(model, attn_implementation="eager")

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.net(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]

    ids = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    # Several workers may export at once: each in a folder of its own.
    made = Path(tempfile.mkdtemp()) / path.name
    plain = made.with_suffix(".plain.onnx")
    shapes = {name: {0: "batch", 1: "length"} for name in names}
    with torch.no_grad():
        torch.onnx.export(
            States().eval(), (ids, ids.clone(), ids * 0), str(plain), input_names=names, output_names=["states"],
            dynamic_axes={**shapes, "states": {0: "batch", 1: "length"}}, opset_version=17, dynamo=False,
        )
    from onnxruntime.transformers import optimizer

    fused = optimizer.optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=384, opt_level=1)
    print("fused operators:", fused.get_fused_operator_statistics(), file=sys.stderr)
    fused.save_model_to_file(str(made))
    made.replace(path)
    return path


PEERS = {"torch": Torch, "onnx": Onnx, "onnx-int8": OnnxInt8}


def worker(kind, model, threads):
    """Embeds the texts of each line on the standard input (a JSON list) and answers with the seconds that it took."""
    peer = PEERS[kind](model, threads)
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        vectors = peer.embed(request["texts"])
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds}
        if request.get("vectors"):
            answer["vectors"] = vectors.tolist()
        print(json.dumps(answer), flush=True)


class Peer:
    def __init__(self, kind, args):
        env = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "true"}
        env["RAYON_NUM_THREADS"] = str(args.threads)
        command = [sys.executable, __file__, "--worker", kind, "--threads", str(args.threads), "-", args.model, "-"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def embed(self, texts, vectors=False):
        self.process.stdin.write(json.dumps({"texts": texts, "vectors": vectors}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def bedstone(args, file, precision):
    command = [args.bedstone, "bench", "embed", args.model, "--data", file, "--rounds", "1", "--json"]
    command += ["--threads", str(args.threads), "--precision", precision]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["seconds"][0]


def golden(args):
    """Largest difference and smallest cosine to the recorded embeddings of the reference, by the program itself."""
    from safetensors.numpy import load_file

    want = load_file(args.golden)["embeddings"]
    sentences = json.loads(Path(args.golden).with_suffix(".json").read_text())["sentences"]
    out = Path(tempfile.mkdtemp()) / "out.safetensors"
    command = [args.bedstone, "embed", args.model, "--out", str(out), "--threads", str(args.threads)]
    for sentence in sentences:
        command += ["--text", sentence]
    errors = {}
    for precision in args.precisions:
        out.unlink(missing_ok=True)
        subprocess.run(command + ["--precision", precision], check=True, capture_output=True)
        got = load_file(str(out))["embeddings"]
        errors[precision] = {"difference": float(abs(got - want).max()), "cosine": float((got * want).sum(1).min())}
    return errors


def available(args):
    """The precisions that the program has on this processor."""
    file = Path(tempfile.mkdtemp()) / "one.txt"
    file.write_text("one\n")
    command = [args.bedstone, "embed", args.model, str(file), "--out", str(file.with_suffix(".safetensors"))]
    tried = {p: subprocess.run(command + ["--precision", p], capture_output=True, text=True) for p in PRECISIONS}
    for precision, run in tried.items():
        if run.returncode:
            print(f"without {precision}: {run.stderr.splitlines()[0]}", file=sys.stderr)
    return [precision for precision, run in tried.items() if run.returncode == 0]


def own(args, file, precision):
    """The vectors of all texts by the program."""
    from safetensors.numpy import load_file

    out = Path(tempfile.mkdtemp()) / "out.safetensors"
    command = [args.bedstone, "embed", args.model, file, "--out", str(out), "--threads", str(args.threads)]
    subprocess.run(command + ["--precision", precision], check=True, capture_output=True)
    return load_file(str(out))["embeddings"]


def accuracy(vectors, reference):
    """Cosines to the reference's vectors, and how often the nearest other text is the same."""
    import numpy

    cosines = (vectors * reference).sum(1)
    nearest = []
    for x in [vectors, reference]:
        similar = x @ x.T
        numpy.fill_diagonal(similar, -1)
        nearest.append(similar.argmax(1))
    same = float((nearest[0] == nearest[1]).mean())
    return {"mean cosine": float(cosines.mean()), "min cosine": float(cosines.min()), "same nearest": same}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bedstone")
    parser.add_argument("model")
    parser.add_argument("reviews")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--golden")
    parser.add_argument("--worker")
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.model, args.threads)
    args.precisions = available(args)
    all_texts = texts(args.reviews)
    file = Path(tempfile.mkdtemp()) / "texts.txt"
    file.write_text("\n".join(all_texts) + "\n")
    peers = {kind: Peer(kind, args) for kind in PEERS}
    import numpy

    check = {name: numpy.array(peer.embed(all_texts, vectors=True)["vectors"]) for name, peer in peers.items()}
    agreement = float(abs(check["torch"] - check["onnx"]).max())
    errors = {f"bedstone {p}": accuracy(own(args, str(file), p), check["torch"]) for p in args.precisions}
    errors |= {PEERS[kind].name: accuracy(vectors, check["torch"]) for kind, vectors in check.items()}
    times = {name: [] for name in errors}
    for _ in range(args.rounds):
        for precision, kind in itertools.zip_longest(args.precisions, peers):
            if precision:
                times[f"bedstone {precision}"].append(bedstone(args, str(file), precision))
            times[PEERS[kind].name].append(peers[kind].embed(all_texts)["seconds"])
    import onnxruntime
    import sentence_transformers
    import torch

    result = {
        "texts": len(all_texts),
        "threads": args.threads,
        "cpu": next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), ""),
        "versions": {
            "torch": torch.__version__,
            "sentence_transformers": sentence_transformers.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "seconds": times,
        "largest difference torch to onnxruntime": agreement,
        "accuracy beside torch": errors,
        "to the recorded embeddings": golden(args) if args.golden else None,
    }
    (HERE / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    median = {name: statistics.median(t) for name, t in times.items()}
    for name, seconds in median.items():
        print(f"{name:<34} {len(all_texts) / seconds:8.0f} texts/s   {seconds:.3f} s")
    for name, error in errors.items():
        print(f"{name:<34}", "  ".join(f"{what} {x:.6f}" for what, x in error.items()))
    print("to the recorded embeddings:", result["to the recorded embeddings"], "peers:", agreement)
    print("f32 / torch", median[Torch.name] / median["bedstone f32"])
    print("f32 / onnxruntime", median[Onnx.name] / median["bedstone f32"])
    if "bf16" in args.precisions:
        print("bf16 / onnxruntime", median[Onnx.name] / median["bedstone bf16"])
        print("int8 / bf16", median["bedstone bf16"] / median["bedstone int8"])
    print("int8 / onnxruntime int8", median[OnnxInt8.name] / median["bedstone int8"])


if __name__ == "__main__":
    main()
