# SPDX-License-Identifier: Apache-2.0
"""Damaged ONNX models: each is refused with a sentence, or converts to a file that loads.

python tests/conformance/onnx_mutants.py [COUNT] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, TensorProto

import converter
import runtime

_MOST_BYTES = 3_000_000  # of a model that mutants are made of
_NUMBERS = (0, -1, 1, 2, 3, 7, 64, 1 << 20, -(1 << 31), (1 << 63) - 1)
_OPS = ("Relu", "Add", "Conv", "Reshape", "Concat", "Gather", "LSTM", "Loop", "Resize", "NoSuchOp")


def sources() -> list[onnx.ModelProto]:
    """The suite's node cases and small models, and the public models."""
    from conformance import onnx_backend

    models = []
    for kind in ("node", "simple"):
        for case in onnx_backend.cases(kind):
            try:
                models.append(onnx_backend.model_of(case))
            except Exception:  # a case that the installed onnx cannot read
                continue
    models += [onnx.load(str(path)) for path in public_models()]
    return [m for m in models if m.ByteSize() <= _MOST_BYTES]


def public_models() -> list[Path]:
    """The .onnx files of the zoo; none where it is absent."""
    from zoo import zoo_files

    return zoo_files("models/onnx/*.onnx")


def mutant(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto | bytes:
    """A copy with one to three things wrong."""
    if rng.random() < 0.1:
        return _cut(model.SerializeToString(), rng)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_DAMAGES)(copy.graph, rng)
    return copy


def _cut(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    if rng.random() < 0.5 and data:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _node(graph, rng):
    return rng.choice(graph.node) if graph.node else None


def _names(graph) -> list[str]:
    names = [i.name for i in graph.input] + [t.name for t in graph.initializer]
    return names + [name for node in graph.node for name in node.output]


def _rename_input(graph, rng):
    node = _node(graph, rng)
    if node is not None and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*_names(graph), "", "nowhere"])


def _drop_input(graph, rng):
    node = _node(graph, rng)
    if node is not None and node.input:
        del node.input[rng.randrange(len(node.input)) :]


def _add_input(graph, rng):
    node = _node(graph, rng)
    if node is not None:
        node.input.append(rng.choice([*_names(graph), "nowhere"]))


def _rename_output(graph, rng):
    node = _node(graph, rng)
    if node is not None and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice([*_names(graph), ""])


def _change_op(graph, rng):
    node = _node(graph, rng)
    if node is not None:
        node.op_type = rng.choice(_OPS) if rng.random() < 0.5 else _node(graph, rng).op_type


def _move_node(graph, rng):
    if len(graph.node) > 1:
        first, second = rng.sample(range(len(graph.node)), 2)
        one = onnx.NodeProto()
        one.CopyFrom(graph.node[first])
        graph.node[first].CopyFrom(graph.node[second])
        graph.node[second].CopyFrom(one)


def _drop_node(graph, rng):
    if graph.node:
        del graph.node[rng.randrange(len(graph.node))]


def _attribute(graph, rng):
    node = _node(graph, rng)
    return rng.choice(node.attribute) if node is not None and node.attribute else None


def _drop_attribute(graph, rng):
    node = _node(graph, rng)
    if node is not None and node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _change_number(graph, rng):
    attribute = _attribute(graph, rng)
    if attribute is None:
        return
    if attribute.type == AttributeProto.INT:
        attribute.i = rng.choice(_NUMBERS)
    elif attribute.type == AttributeProto.INTS and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif attribute.type == AttributeProto.STRING:
        attribute.s = rng.choice((b"", b"\xff\xfe", b"NOTSET", b"linear"))


def _change_length(graph, rng):
    attribute = _attribute(graph, rng)
    if attribute is not None and attribute.type == AttributeProto.INTS:
        attribute.ints.append(rng.choice(_NUMBERS))
        if rng.random() < 0.5:
            del attribute.ints[: rng.randint(1, 2)]


def _change_kind(graph, rng):
    attribute = _attribute(graph, rng)
    if attribute is None:
        return
    name = attribute.name
    values = (1, 2.5, "text", [1, 2], [0.5], ["a"])
    attribute.CopyFrom(onnx.helper.make_attribute(name, rng.choice(values)))


def _change_shape(graph, rng):
    infos = [i for i in graph.input if i.type.WhichOneof("value") == "tensor_type"]
    if not infos:
        return
    tensor = rng.choice(infos).type.tensor_type
    choice = rng.random()
    if choice < 0.2:
        tensor.ClearField("shape")
    elif choice < 0.4:
        tensor.shape.dim.add().dim_value = rng.choice((0, 1, 3))
    elif tensor.shape.dim:
        dim = rng.choice(tensor.shape.dim)
        if choice < 0.6:
            dim.dim_param = rng.choice("nm")
        else:
            dim.dim_value = rng.choice((-1, 0, 1, 2, 5, 17))


def _change_type(graph, rng):
    infos = [i for i in graph.input if i.type.WhichOneof("value") == "tensor_type"]
    if infos:
        rng.choice(infos).type.tensor_type.elem_type = rng.choice(
            (*TensorProto.DataType.values(), 99)
        )


def _change_constant(graph, rng):
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    choice = rng.randrange(4)
    if choice == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((-1, 0, 1, 3, 1 << 40))
    elif choice == 1:
        tensor.data_type = rng.choice((*TensorProto.DataType.values(), 99))
    elif choice == 2:
        tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
    else:
        tensor.data_location = TensorProto.EXTERNAL


def _drop_output(graph, rng):
    if graph.output and rng.random() < 0.5:
        del graph.output[rng.randrange(len(graph.output))]
    elif graph.output:
        graph.output[0].name = rng.choice([*_names(graph), "nowhere"])


_DAMAGES = (
    _rename_input, _drop_input, _add_input, _rename_output, _change_op, _move_node, _drop_node,
    _drop_attribute, _change_number, _change_number, _change_length, _change_kind, _change_shape,
    _change_type, _change_constant, _drop_output,
)  # fmt: skip


def trouble(source: onnx.ModelProto | bytes) -> str:
    """What went wrong in converting it, as a traceback; empty where it was refused or loads."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = converter.from_onnx(source)
            converter.optimize(model)
            content = converter.write_tflite(model)
        interpreter = runtime.Interpreter(model_content=content)
        interpreter.allocate_tensors()
    except (converter.ConversionError, runtime.RilletError):
        return ""
    except Exception:
        return traceback.format_exc()
    return ""


def mutants(count: int, seed: int) -> Iterator[tuple[str, onnx.ModelProto | bytes]]:
    rng = random.Random(seed)
    models = sources()
    for i in range(count):
        model = rng.choice(models)
        yield f"{model.graph.name} #{i}", mutant(model, rng)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seen: dict[str, str] = {}
    for name, damaged in mutants(args.count, args.seed):
        found = trouble(damaged)
        if found:
            seen.setdefault("\n".join(found.splitlines()[-3:]), f"{name}\n{found}")
    for text in seen.values():
        print(text[-1500:], "\n")
    print(f"{args.count} mutants, {len(seen)} kinds of trouble")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
