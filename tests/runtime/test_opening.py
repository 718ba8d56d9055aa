# SPDX-License-Identifier: Apache-2.0
"""Opening models: files and bytes, what is refused and how, the arguments of Interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import runtime_models as models

import runtime
from converter import ir, write_tflite
from runtime import RilletError


def test_the_file_is_used_in_place(dense, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(dense)
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(runtime.load(path)(x), runtime.load(dense)(x))
    np.testing.assert_array_equal(runtime.load(str(path))(x), runtime.load(bytearray(dense))(x))


def test_what_was_verified_cannot_change(dense):
    x, content = np.ones((1, 4), np.float32), bytearray(dense)
    model = runtime.load(content)
    expected = model(x)
    content[:] = bytes(len(content))
    model.resize_tensor_input(0, [2, 4])
    np.testing.assert_array_equal(model(x), expected)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", "BAD_MODEL", "0 bytes are too few"),
        (b"short", "BAD_MODEL", "5 bytes are too few"),
        (b"\x89PNG\r\n\x1a\n" * 8, "BAD_MODEL", "not a .tflite model"),
        (b"\x1c\0\0\0TFL3", "BAD_MODEL", "cut short"),
    ],
)
def test_what_is_no_model_is_refused_in_words(content, status, words):
    with pytest.raises(RilletError, match=words) as caught:
        runtime.Interpreter(model_content=content)
    assert caught.value.status == status


def test_a_file_cut_short_names_the_file(dense, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(dense[: len(dense) // 2])
    with pytest.raises(RilletError, match=r"cut\.tflite: .*cut short"):
        runtime.Interpreter(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RilletError, match=r"cannot read the model .*none\.tflite.*No such file"):
        runtime.Interpreter(model_path=tmp_path / "none.tflite")
    with pytest.raises(RilletError, match="Is a directory"):
        runtime.Interpreter(str(tmp_path))
    empty = tmp_path / "empty.tflite"
    empty.touch()
    with pytest.raises(RilletError, match="is empty"):
        runtime.Interpreter(empty)


def test_another_schema_version_is_refused(dense):
    import flatbuffers.encode
    import flatbuffers.packer
    from tflite.Model import Model

    content = bytearray(dense)
    table = Model.GetRootAs(content)._tab
    flatbuffers.encode.Write(flatbuffers.packer.uint32, content, table.Pos + table.Offset(4), 4)
    with pytest.raises(RilletError, match="schema version 4, this runtime reads version 3") as e:
        runtime.Interpreter(model_content=content)
    assert e.value.status == "UNSUPPORTED"


def custom_op_model() -> bytes:
    b = models.Builder()
    x = b.input((1, 4))
    y = ir.Value("odd/out", "FLOAT32", (1, 4))
    b.graph.add_node("CUSTOM", [x], [y], custom_code="OddOp")
    return write_tflite(b.model(y))


def test_an_unsupported_op_is_named_with_its_tensor_and_a_way_out():
    with pytest.raises(RilletError) as caught:
        runtime.Interpreter(model_content=custom_op_model())
    text = str(caught.value)
    assert caught.value.status == "UNSUPPORTED"
    assert "node 0 OddOp -> 'odd/out'" in text and "replace it" in text


def test_constructor_arguments(dense):
    with pytest.raises(ValueError, match="give either"):
        runtime.Interpreter()
    with pytest.raises(ValueError, match="give either"):
        runtime.Interpreter("a.tflite", dense)
    with pytest.raises(ValueError, match="num_threads should be int"):
        runtime.Interpreter(model_content=dense, num_threads="2")
    with pytest.raises(ValueError, match="num_threads should be >= 1"):
        runtime.Interpreter(model_content=dense, num_threads=0)
    with pytest.warns(UserWarning, match="ignores experimental_delegates"):
        runtime.Interpreter(model_content=dense, experimental_delegates=[object()])
    with pytest.warns(UserWarning, match="ignores experimental_op_resolver_type"):
        runtime.Interpreter(
            model_content=dense,
            experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_REF,
        )


def test_the_instruction_set_can_be_capped(dense, monkeypatch):
    def loops():
        interpreter = runtime.Interpreter(model_content=dense)
        interpreter.allocate_tensors()
        return [node["loop"] for node in interpreter.nodes()]

    monkeypatch.setenv("RILLET_ISA", "scalar")
    assert all(loop.endswith("__scalar") for loop in loops())
    monkeypatch.setenv("RILLET_ISA", "quantum")
    with pytest.raises(RilletError, match="'quantum' is no instruction set"):
        loops()
    monkeypatch.delenv("RILLET_ISA")
    assert all(loop.endswith(f"__{runtime.best_isa()}") for loop in loops())
