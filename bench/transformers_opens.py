"""Opens checkpoints that bedstone trained in `transformers`, and checks that both programs say the same.

    python transformers_opens.py BEDSTONE DIR... [--fixtures DIR]

For each checkpoint: the class and that every weight is used; token ids of several texts; greedy continuations; logits
and loss, by a parity fixture that is written here and run by `bedstone parity`. Exit code 1 if anything differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.disable_progress_bar()

TEXTS = [
    "",
    " ",
    "To be, or not to be, that is the question:\n",
    "KING HENRY.\n  Once more unto the breach, dear friends\u2014once more;",
    "It's 3.14159, isn't it?  We'll see:\t1,000,000 of them\r\n\r\n",
    "na\u00efve caf\u00e9, nai\u0308ve cafe\u0301, \u00fcber, \u0152uvre",
    "\u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \uc548\ub155 \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \u2764\ufe0f",
    "<|endoftext|>after the end <|endoftext|>",
    "a" * 300,
    "\u0001\u007f\u200b\ufeff",
]
PROMPTS = ["", "The", "HAMLET.\n", "My lord, I have a letter from the king"]
NEW_TOKENS = 40


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bedstone", help="the binary")
    parser.add_argument("dirs", nargs="+", type=Path, help="checkpoint directories")
    parser.add_argument("--fixtures", type=Path, help="keep the fixtures in this folder")
    args = parser.parse_args()
    failures = []
    for path in args.dirs:
        with tempfile.TemporaryDirectory() as temporary:
            fixture = (args.fixtures or Path(temporary)) / path.name
            for what, problem in check(args.bedstone, path, fixture):
                print(f"{'FAIL' if problem else 'ok  '} {path.name}: {what}" + (f": {problem}" if problem else ""))
                failures += [problem] if problem else []
    sys.exit(1 if failures else 0)


def check(bedstone, path, fixture):
    """Yields what was checked and what is wrong with it, if anything."""
    config = json.loads((path / "config.json").read_text())
    model, info = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    wanted = config["architectures"][0]
    yield f"class {wanted}", differs(type(model).__name__, wanted)
    unused = {key: sorted(value) for key, value in info.items() if value}
    yield "every weight is there and used", unused
    special = {name: getattr(model.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    own = {name: getattr(tokenizer, name) for name in special}
    yield f"special tokens {special}", differs(own, special)
    length = model.config.max_position_embeddings
    yield f"tokenizer stops at {length}", differs(tokenizer.model_max_length, length)
    yield from check_tokenizer(bedstone, path, tokenizer)
    yield from check_greedy(bedstone, path, model, tokenizer)
    write_fixture(path, fixture, model, tokenizer)
    done = subprocess.run([bedstone, "parity", "--precision", "f32", fixture], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if " loss" in line or "logits" in line or "plain" in line or "passed" in line:
            print(f"     {path.name}: {line.strip()}")
    yield "bedstone parity", "" if done.returncode == 0 else done.stdout + done.stderr


def check_tokenizer(bedstone, path, tokenizer):
    for more, special in (([], True), (["--no-special"], False)):
        got = json_lines([bedstone, "tokenizer", "encode", "--json", *more, path, *TEXTS])
        want = [tokenizer(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        wrong = [(text, g["ids"], w) for text, g, w in zip(TEXTS, got, want, strict=True) if g["ids"] != w]
        yield f"ids of {len(TEXTS)} texts ({sum(map(len, want))} tokens){' without special tokens' if more else ''}", wrong


def check_greedy(bedstone, path, model, tokenizer):
    # One by one, as the room for new tokens depends on the prompt.
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"] or [model.config.bos_token_id]
        command = [bedstone, "generate", path, "--prompt", prompt, "--greedy", "--max-tokens", NEW_TOKENS, "--json"]
        [got] = json_lines([*command, "--precision", "f32"])
        ids = torch.tensor([ids])
        done = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS,
            output_scores=True, return_dict_in_generate=True, pad_token_id=model.config.eos_token_id,
        )
        want = tokenizer.decode(done.sequences[0, ids.shape[1] :], skip_special_tokens=True)
        top = torch.stack(done.scores)[:, 0].topk(2).values
        margin = (top[:, 0] - top[:, 1]).min().item()
        yield f"{NEW_TOKENS} greedy tokens after {prompt!r} (smallest margin {margin:.1e})", differs(got["text"], want)


def write_fixture(path, fixture, model, tokenizer):
    """The checkpoint with what `transformers` makes of it: cases `plain` and `loss`, and the texts."""
    fixture.mkdir(parents=True)
    for file in path.iterdir():
        if file.is_file():
            shutil.copy(file, fixture / file.name)
    torch.manual_seed(0)
    length = min(model.config.max_position_embeddings, 96)
    ids = torch.randint(0, model.config.vocab_size, (2, length))
    with torch.no_grad():
        out = model(input_ids=ids[:1], output_hidden_states=True, use_cache=False)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    tensors = {"plain.in.input_ids": ids[:1], "plain.out.logits": out.logits}
    tensors |= {f"plain.out.hidden_states.{i}": states for i, states in enumerate(out.hidden_states)}
    tensors |= {"loss.in.input_ids": ids, "loss.in.labels": ids, "loss.out.loss": loss}
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, fixture / "parity.safetensors")
    parity = {
        "name": path.name,
        "model_class": type(model).__name__,
        "model_type": model.config.model_type,
        "cases": {"plain": {"output_hidden_states": True}, "loss": {}},
        "generation": [],
        "tokenizer_cases": [tokenizer_case(tokenizer, text) for text in TEXTS],
    }
    (fixture / "parity.json").write_text(json.dumps(parity))


def tokenizer_case(tokenizer, text):
    encoded = tokenizer(text, return_offsets_mapping=True, return_token_type_ids=True)
    ids = encoded["input_ids"]
    return {
        "text": text,
        "ids": ids,
        "ids_no_special": tokenizer(text, add_special_tokens=False)["input_ids"],
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "offsets": encoded["offset_mapping"],
        "type_ids": encoded["token_type_ids"],
        "decoded": tokenizer.decode(ids, skip_special_tokens=True),
        "decoded_with_special": tokenizer.decode(ids),
    }


def differs(got, want):
    return "" if got == want else f"got {got!r}, want {want!r}"


def json_lines(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
