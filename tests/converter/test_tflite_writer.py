# SPDX-License-Identifier: Apache-2.0
"""What is written: whole files only, shared and aligned constants, facts other readers need."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as litert
from ai_edge_litert.interpreter import Interpreter
from graph_building import Builder, conv, normal, run_litert, small_model

from converter import ConversionError, ir, op_versions, read_tflite, write_tflite, writer
from converter.runtime_versions import min_runtime_version


def test_litert_runs_what_is_written_and_numpy_agrees():
    b = Builder()
    rng = np.random.default_rng(1)
    x = b.input((2, 3))
    w, bias = normal(rng, 4, 3), normal(rng, 4)
    model = b.model(b.op("FULLY_CONNECTED", [x, w, bias], (2, 4)))
    interpreter = Interpreter(model_content=write_tflite(model))
    runner = interpreter.get_signature_runner("serving_default")
    data = normal(rng, 2, 3)
    np.testing.assert_allclose(runner(x0=data)["y0"], data @ w.T + bias, rtol=1e-5)


def test_dynamic_batch_can_be_resized():
    interpreter = Interpreter(model_content=write_tflite(small_model()))
    (detail,) = interpreter.get_input_details()
    assert list(detail["shape_signature"]) == [-1, 6, 6, 2]
    interpreter.resize_tensor_input(detail["index"], [5, 6, 6, 2])
    interpreter.allocate_tensors()
    interpreter.invoke()
    (out,) = interpreter.get_output_details()
    assert interpreter.get_tensor(out["index"]).shape == (5, 4)


def test_buffers_are_aligned_and_equal_constants_share_one():
    b = Builder()
    rng = np.random.default_rng(2)
    weights = normal(rng, 5, 5)
    y = b.input((1, 5))
    for shape in ((5, 5), (5, 5)):
        y = b.op("FULLY_CONNECTED", [y, weights.copy().reshape(shape)], (1, 5))
    data = write_tflite(b.model(y))
    root = litert.Model.GetRootAs(data)
    sizes = [root.Buffers(i).DataLength() for i in range(root.BuffersLength())]
    assert sizes.count(100) == 1
    assert sizes[0] == 0
    for i in range(root.BuffersLength()):
        if not root.Buffers(i).DataIsNone():
            start = root.Buffers(i).DataAsNumpy().ctypes.data
            assert (start - np.frombuffer(data, np.uint8).ctypes.data) % 16 == 0


def test_both_opcode_fields_are_written():
    b = Builder()
    x = b.input((2, 2))
    y = b.op("GELU", [x], (2, 2))  # number 150, more than the first field holds
    root = litert.Model.GetRootAs(write_tflite(b.model(b.op("ADD", [y, y], (2, 2)))))
    codes = [root.OperatorCodes(i) for i in range(root.OperatorCodesLength())]
    assert [(c.DeprecatedBuiltinCode(), c.BuiltinCode()) for c in codes] == [(127, 150), (0, 0)]


def test_min_runtime_version_is_the_newest_op_s():
    model = small_model()
    assert min_runtime_version(model) == "1.5.0"
    model.main.nodes[3].options["keep_num_dims"] = True
    data = write_tflite(model)
    assert read_tflite(data).metadata["min_runtime_version"] == b"2.0.0".ljust(16, b"\0")


@pytest.mark.parametrize(
    ("dtype", "weights", "scales", "version"),
    [
        ("FLOAT32", "FLOAT32", 0, 1),
        ("FLOAT32", "INT8", 1, 2),
        ("FLOAT32", "INT8", 3, 5),
        ("INT8", "INT8", 3, 3),
        ("INT8", "INT4", 3, 7),
        ("INT16", "INT8", 3, 4),
    ],
)
def test_versions_of_convolution(dtype, weights, scales, version):
    b = Builder()
    quant = ir.Quantization(np.ones(scales), np.zeros(scales)) if scales else None
    x = b.input((1, 4, 4, 2), dtype)
    w = b.constant(np.zeros((3, 1, 1, 2)), dtype=weights, quant=quant)
    y = b.op("CONV_2D", [x, w], (1, 4, 4, 3), dtype, stride_w=1, stride_h=1)
    assert op_versions.op_version(y.producer) == version


def test_description_and_signature():
    data = write_tflite(small_model())
    root = litert.Model.GetRootAs(data)
    assert root.Description() == b"rillet"
    assert root.Version() == 3
    assert litert.Model.ModelBufferHasIdentifier(data, 0)
    signatures = Interpreter(model_content=data).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["x0"], "outputs": ["y0"]}}


def test_writing_is_deterministic():
    assert write_tflite(small_model()) == write_tflite(small_model())
    data = write_tflite(small_model())
    assert write_tflite(read_tflite(data)) == data


def test_associated_files_follow_the_model():
    model = small_model()
    model.files = {"labels.txt": b"cat\ndog\n", "notes.txt": b""}
    data = write_tflite(model)
    assert read_tflite(data).files == model.files
    plain = run_litert(write_tflite(small_model()))
    np.testing.assert_array_equal(run_litert(data)[0], plain[0])


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "m.tflite"
    write_tflite(small_model(), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConversionError, match=r"m\.tflite: cannot be written \(No space left"):
        write_tflite(small_model(seed=1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.tflite"]


def test_a_missing_folder_gets_a_sentence(tmp_path):
    with pytest.raises(ConversionError, match="cannot be written"):
        write_tflite(small_model(), tmp_path / "none" / "m.tflite")


def test_written_files_have_ordinary_permissions(tmp_path):
    path = tmp_path / "m.tflite"
    data = write_tflite(small_model(), path)
    assert path.read_bytes() == data
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_large_models_keep_constants_behind_the_flatbuffer(monkeypatch):
    model = small_model()
    inside = write_tflite(model)
    monkeypatch.setattr(writer, "INSIDE_LIMIT", 0)
    behind = write_tflite(model)
    root = litert.Model.GetRootAs(behind)
    offsets = [root.Buffers(i).Offset() for i in range(root.BuffersLength())]
    assert sum(offset > 0 for offset in offsets) >= 5
    assert all(offset % 16 == 0 for offset in offsets)
    np.testing.assert_array_equal(run_litert(behind)[0], run_litert(inside)[0])
    again = read_tflite(behind)
    monkeypatch.undo()
    assert write_tflite(again) == inside
    with pytest.raises(ConversionError, match="cut short"):
        read_tflite(behind[:-64])


def test_unknown_option_values_are_refused():
    model = small_model()
    model.main.nodes[0].options["padding"] = "FULL"
    with pytest.raises(ConversionError, match="'FULL' is not a member of Padding"):
        write_tflite(model)


def test_no_temporary_array_is_mistaken_for_another():
    """Buffers are remembered by array identity, so arrays must stay alive while writing."""
    b = Builder()
    y = b.input((1, 4))
    for i in range(40):
        y = b.op("ADD", [y, np.full((1, 4), i, np.float32)], (1, 4))
    again = read_tflite(write_tflite(b.model(y)))
    for i, node in enumerate(again.main.nodes):
        assert np.all(node.inputs[1].data == i)


def test_writing_takes_little_more_than_twice_the_file():
    b = Builder()
    y, rng = b.input((1, 512)), np.random.default_rng(0)
    for _ in range(10):
        y = b.op("FULLY_CONNECTED", [y, normal(rng, 512, 512), None], (1, 512))
    model = b.model(y)
    tracemalloc.start()
    size = len(write_tflite(model))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 10 << 20 and peak < 2.3 * size


def test_conv_builder_matches_litert_shapes():
    b = Builder()
    rng = np.random.default_rng(3)
    x, w, bias = b.input((1, 7, 7, 2)), normal(rng, 4, 3, 3, 2), normal(rng, 4)
    y = conv(b, x, w, bias, stride=2, padding="VALID")
    assert run_litert(write_tflite(b.model(y)))[0].shape == y.shape
