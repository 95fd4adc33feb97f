"""Opens what bedstone wrote in Python's sentence-transformers and compares the vectors.

    cargo run --release -p bedstone-infer --example save_sentences FROM TO [cls|max|mean|mean_sqrt_len_tokens|weightedmean|lasttoken]
    python bench/sentence_transformers_opens.py target/release/bedstone TO [TO...]

Exit code 1 if a vector differs by more than 1e-5.
"""

import json
import subprocess
import sys

import numpy
from sentence_transformers import SentenceTransformer

TEXTS = ["A man is playing a guitar.", "", "今天天气很好", "Nobody could explain why the clock had stopped. " * 12, "café 😀"]


def main():
    program, *folders = sys.argv[1:]
    failed = False
    for folder in folders:
        model = SentenceTransformer(folder, device="cpu")
        for prompt in [None, *model.prompts]:
            # sentence-transformers lists prompts of its own that are empty.
            if prompt is not None and not model.prompts[prompt]:
                continue
            want = model.encode(TEXTS, prompt_name=prompt, prompt="" if prompt is None else None)
            command = [program, "embed", folder, "--precision", "f32", "--text", *TEXTS]
            command += ["--prompt-name", prompt] if prompt else []
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            got = numpy.array([json.loads(line)["embedding"] for line in lines])
            error = abs(got - want).max()
            failed |= not error <= 1e-5
            print(f"{folder} prompt {prompt}: {got.shape}, largest difference {error:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
