# SPDX-License-Identifier: Apache-2.0
"""Small ONNX files that ask for much: memory and time stay bounded, and a sentence says why."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import converter
import runtime
from converter.conversion import convert
from converter.importers import builder
from converter.importers.onnx import folding
from converter.sources import OnnxSource

X = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
Y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
node = helper.make_node


def numbers(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def model(nodes, held=(), functions=(), inputs=X):
    graph = helper.make_graph(nodes, "small", inputs, Y, list(held))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


ONE = numbers("w", [1], np.float32)
ENDS = numbers("ends", [0, 1], np.float32)
HUGE = numbers("s", [1 << 33])


@pytest.mark.parametrize(
    ("nodes", "held", "words"),
    [
        ([node("Expand", ["w", "s"], ["t"])], [ONE, HUGE], "8589934592, which 32 bits do not"),
        ([node("Tile", ["w", "s"], ["t"])], [ONE, HUGE], "8589934592, which 32 bits do not"),
        (
            [node("OneHot", ["i", "d", "ends"], ["t"])],
            [numbers("i", [0]), numbers("d", 1 << 36), ENDS],
            "68719476736, which 32 bits do not",
        ),
        (
            [node("ConstantOfShape", ["s"], ["t"])],
            [numbers("s", [1 << 17, 1 << 17])],
            "would have 68719476736 bytes",
        ),
        ([node("Split", ["x"], ["t", "u"], num_outputs=1 << 40)], [], "into 1099511627776 parts"),
    ],
)
def test_sizes_that_no_memory_holds(nodes, held, words):
    source = model([*nodes, node("Add", ["t", "x"], ["y"])], held)
    tracemalloc.start()
    with pytest.raises(converter.ConversionError, match=words):
        converter.from_onnx(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


def test_constants_that_double_are_not_kept(monkeypatch):
    monkeypatch.setattr(folding, "_MOST_RESULT", 1 << 16)
    monkeypatch.setattr(builder, "_MOST_GROWN", 1 << 18)
    monkeypatch.setattr(builder, "_SMALL", 1 << 12)
    steps = [node("Concat", [f"a{i}"] * 2, [f"a{i + 1}"], axis=0) for i in range(10)]
    source = model([*steps, node("Add", ["a10", "x"], ["y"])], [numbers("a0", [1] * 1000, "f4")])
    found = converter.from_onnx(source)
    assert [n.op for n in found.main.nodes] == ["CONCATENATION"] * 4 + ["ADD"]
    interpreter = runtime.Interpreter(model_content=converter.write_tflite(found))
    assert (interpreter(x=np.ones(1, np.float32)) == 2).all()


def test_constants_of_nothing_have_a_budget(monkeypatch):
    monkeypatch.setattr(folding, "_MOST_GROWN", 1 << 20)
    fold = folding.Folding()
    fill = node("ConstantOfShape", ["s"], ["t"])
    shape = {"s": np.array([1 << 17])}
    assert [fold.results(fill, shape, 18) is None for _ in range(3)] == [False, False, True]
    assert fold.results(node("Neg", ["s"], ["t"]), shape, 18) is not None


def test_inputs_of_an_axis_that_tflite_lacks():
    large = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 << 40, 3])]
    with pytest.raises(converter.ConversionError, match="input 'x' has an axis of 1099511627776"):
        converter.from_onnx(model([node("Relu", ["x"], ["y"])], inputs=large))


def test_functions_that_call_each_other_many_times():
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", "f0", ["a"], ["b"], [node("Neg", ["a"], ["b"])], opsets)
    ]
    for i in range(1, 14):
        calls = [
            node(f"f{i - 1}", [f"m{k}" if k else "a"], [f"m{k + 1}"], domain="own")
            for k in range(9)
        ]
        calls.append(node("Identity", ["m9"], ["b"]))
        functions.append(helper.make_function("own", f"f{i}", ["a"], ["b"], calls, opsets))
    source = model([node("f13", ["x"], ["y"], domain="own")], functions=functions)
    start = time.process_time()
    with pytest.raises(converter.ConversionError, match="is a call of a function after 10000"):
        converter.from_onnx(source)
    assert time.process_time() - start < 15


def test_a_loop_that_does_not_end_is_not_asked_of_the_source(tmp_path):
    """ONNX Runtime would run its 2^40 turns."""
    condition = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    step = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    state = helper.make_tensor_value_info("v", TensorProto.FLOAT, [1])
    body = helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("Neg", ["v"], ["next"])],
        "body",
        [step, condition, state],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    held = [numbers("n", 1 << 40), numbers("c", True, bool)]
    source = model([node("Loop", ["n", "c", "x"], ["y"], body=body)], held)
    path = tmp_path / "loop.onnx"
    onnx.save(source, str(path))
    with pytest.raises(converter.ConversionError, match="took 1048576 turns, which is the limit"):
        convert(OnnxSource(str(path)), tmp_path / "loop.tflite")
    assert [p.name for p in tmp_path.iterdir()] == ["loop.onnx"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": "abc"}, "its offset 'abc' in a file of its own is no number"),
        ({"length": "zz"}, "its length 'zz' in a file of its own is no number"),
        ({"length": "4"}, "said to have 4 bytes in 'w.bin', but takes 24"),
        ({"offset": "-8"}, "too short"),
        ({"location": "/etc/passwd"}, "outside of the model's folder"),
        ({"location": "sub"}, "not beside the model"),
    ],
)
def test_external_data_that_is_said_wrongly(tmp_path, entries, words):
    tensor = TensorProto(name="w", data_type=1, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "w.bin"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(bytes(24))
    (tmp_path / "sub").mkdir()
    path = tmp_path / "net.onnx"
    path.write_bytes(model([node("Add", ["x", "w"], ["y"])], [tensor]).SerializeToString())
    with pytest.raises(converter.ConversionError, match=words):
        converter.from_onnx(path)
