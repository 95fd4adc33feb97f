"""Writes the `torch.save` files of this directory and what they hold.

Run with PyTorch 2.x and safetensors installed: python make.py

`*.bin` are read by tests/weights.rs and compared with `*.safetensors` of the same stem (or the one named below), which
hold the same tensors, row by row.
"""

import collections
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def save(name, value, tensors, **options):
    torch.save(value, HERE / f"{name}.bin", **options)
    if tensors is not None:
        save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, HERE / f"{name}.safetensors")


def every_dtype():
    """All element types, a scalar, an empty tensor, views with offset and strides, and tied weights."""
    floats = torch.linspace(-3, 3, 24).reshape(4, 6)
    tensors = collections.OrderedDict()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensors[f"float.{dtype}".replace("torch.", "")] = floats.to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8):
        tensors[f"int.{dtype}".replace("torch.", "")] = torch.tensor([[-7, 0, 5]], dtype=dtype)
    tensors["int.uint8"] = torch.tensor([0, 200], dtype=torch.uint8)
    tensors["int.bool"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(1.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["view.transposed"] = floats.t()
    tensors["view.rows"] = floats[1:3]
    tensors["view.columns"] = floats[:, 1:5:2]
    tensors["view.expanded"] = floats[0].expand(3, 6)
    tensors["tied"] = tensors["float.float32"]
    return tensors


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.norm = torch.nn.LayerNorm(3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def main():
    torch.manual_seed(0)
    tensors = every_dtype()
    save("dtypes", tensors, tensors)
    save("dtypes-legacy", tensors, None, _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        save(f"dtypes-protocol{protocol}", tensors, None, pickle_protocol=protocol)

    net = Net()
    optimizer = torch.optim.AdamW(net.parameters())
    (net.norm(net.embed(torch.tensor([1]))) @ net.head.weight.T).sum().backward()
    optimizer.step()
    state = net.state_dict()
    save("module", state, state)
    save("module-legacy", state, None, _use_new_zipfile_serialization=False)
    save("parameters", dict(net.named_parameters(remove_duplicate=False)), None)
    save("nested", {"epoch": 3, "model": state, "optimizer": optimizer.state_dict(), "name": "tiny"}, None)
    save("nested-state-dict", {"state_dict": state, "loss": 0.5}, None)
    save("mixed", {**state, "steps": 7}, None)

    torch.serialization.set_crc32_options(False)
    save("no-checksums", state, None)
    torch.serialization.set_crc32_options(True)

    save("evil", {"weight": torch.zeros(1), "evil": Evil()}, None)
    save("evil-legacy", {"weight": torch.zeros(1), "evil": Evil()}, None, _use_new_zipfile_serialization=False)
    save("whole-module", net, None)
    save("list", [torch.zeros(1)], None)


main()
