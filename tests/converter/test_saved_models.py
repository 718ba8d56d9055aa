# SPDX-License-Identifier: Apache-2.0
"""SavedModels without TensorFlow: frozen, converted, and compared with what TensorFlow computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import converter
import runtime
from converter.importers.graph_files import frozen_saved_model
from converter.importers.tensorflow.saved import convert_frozen
from converter.sources import SavedModelSource
from host_engine.graphdef.messages import GraphDef

# Written by TensorFlow 2.21: tests/converter/make_saved_models.py.
FOLDER = Path(__file__).parent / "saved_models"
NAMES = ("images", "module")


def arrays(name):
    found = np.load(FOLDER / f"{name}.npz")
    return [
        {key[len(kind) :]: found[key] for key in found if key.startswith(kind)}
        for kind in ("in ", "out ")
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimized", [False, True])
def test_converts_to_tensorflows_numbers(name, optimized):
    model = SavedModelSource(FOLDER / name).convert()
    if optimized:
        converter.optimize(model)
    feeds, wanted = arrays(name)
    run = runtime.Interpreter(model_content=converter.write_tflite(model)).get_signature_runner()
    found = run(**feeds)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-6)


def test_only_what_the_signature_calls_is_kept():
    frozen = frozen_saved_model(FOLDER / "module")
    graph_def = GraphDef.FromString(frozen.graph_def)
    functions = graph_def.library.function
    nodes = [*graph_def.node, *(node for f in functions for node in f.node_def)]
    assert {node.op for node in nodes} >= {"While", "If", "GatherV2"}
    assert not {node.op for node in nodes} & {"VarHandleOp", "ReadVariableOp", "RestoreV2"}
    assert "StatefulPartitionedCall" not in {node.op for node in nodes}
    kept = sorted(f.signature.name.rpartition("_")[0] for f in functions)
    assert kept == ["cond_false", "cond_true", "while_body", "while_cond"]
    assert set(frozen.inputs.values()) == {"ids", "shift"}


def test_layers_keep_their_names():
    model = SavedModelSource(FOLDER / "images").convert()
    names = {value.name for node in model.main.nodes for value in node.outputs}
    assert any(name.endswith("conv2d_1/Relu") for name in names), names


def test_shapes_are_given_by_the_signatures_names():
    model = convert_frozen(frozen_saved_model(FOLDER / "images"), {"image": (3, 12, 12, 3)})
    assert model.main.inputs[0].shape == (3, 12, 12, 3)
    assert model.main.inputs[0].shape_signature in (None, (3, 12, 12, 3))


def broken(tmp_path, change):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / "images", folder)
    change(folder)
    with pytest.raises(converter.ConversionError) as error:
        frozen_saved_model(folder)
    return str(error.value)


def test_what_is_missing_or_damaged_is_said(tmp_path):
    data = "variables/variables.data-00000-of-00001"

    def cut(folder):
        path = folder / data
        path.write_bytes(bytes(path.stat().st_size))

    def other_signature(folder):
        path = folder / "saved_model.pb"
        path.write_bytes(path.read_bytes().replace(b"serving_default", b"serving_another"))

    assert "Checksum does not match" in broken(tmp_path / "a", cut)
    assert data in broken(tmp_path / "b", lambda folder: (folder / data).unlink())
    message = broken(tmp_path / "c", lambda f: (f / "variables/variables.index").unlink())
    assert "has no checkpoint" in message
    message = broken(tmp_path / "d", lambda f: (f / "saved_model.pb").write_bytes(b"\x08\x01"))
    assert "holds no graph: it is damaged" in message
    message = broken(tmp_path / "e", other_signature)
    assert "no signature 'serving_default'" in message and "serving_another" in message
    assert "--signature" in message
    assert "No such file" in broken(tmp_path / "f", lambda f: (f / "saved_model.pb").unlink())


def test_a_key_that_a_file_lacks_is_no_missing_signature(monkeypatch):
    def lacking(*_):
        raise KeyError("dtype")

    monkeypatch.setattr("host_engine.graphdef.saved_model.freeze_checkpoint", lacking)
    with pytest.raises(converter.ConversionError, match="cannot be frozen: 'dtype'"):
        frozen_saved_model(FOLDER / "images")


def test_other_signatures_are_chosen_by_name(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / "images", folder)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"serving_default\x12", b"serving_another\x12"))
    model = SavedModelSource(folder, signature="serving_another").convert()
    assert list(model.signatures[0].outputs) == ["output_0"]


def test_any_bytes_give_a_model_or_a_sentence(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / "module", folder)
    whole = (folder / "saved_model.pb").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(256)
        (folder / "saved_model.pb").write_bytes(bytes(data))
        try:
            SavedModelSource(folder).convert()
        except converter.ConversionError:
            refused += 1
    assert refused > 5
