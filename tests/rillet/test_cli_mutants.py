# SPDX-License-Identifier: Apache-2.0
"""Files with bytes cut off, changed, lost or doubled, of every form that is read without another
framework: each converts, or is refused in a sentence, and then nothing is written.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import onnx
import pytest
from onnx_models import small_network

from rillet import errors

pytest_plugins = ("cli_fixtures",)
FILES = Path(__file__).parents[1] / "converter"
COUNT = 16  # of each form
NET = """
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
       attr { key: "shape" value { shape { dim { size: 2 } dim { size: 3 } } } } }
node { name: "w" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
       attr { key: "value" value { tensor { dtype: DT_FLOAT float_val: 1.5
              tensor_shape { dim { size: 3 } dim { size: 2 } } } } } }
node { name: "y" op: "MatMul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } } }
"""


def damaged(content: bytes, rng: random.Random) -> bytes:
    kind, at, length = rng.random(), rng.randrange(len(content)), rng.randrange(1, 40)
    if kind < 0.2:
        return content[:at]
    if kind < 0.3:
        return content[:at] + content[at + length :]
    if kind < 0.4:
        return content[: at + length] + content[at:]
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(data)


def sources(form: str, folder: Path) -> tuple[Path, list[Path], list[str]]:
    """What is converted, its files, and what the command line says besides."""
    if form == "checkpoint":
        ends = ("meta", "index", "data-00000-of-00001")
        files = [Path(shutil.copy(FILES / "checkpoints" / f"classic.{e}", folder)) for e in ends]
        return files[0], files, ["--outputs", "scores", "--constant", "keep_prob=1.0"]
    if form == "SavedModel":
        model = Path(shutil.copytree(FILES / "saved_models" / "module", folder / "model"))
        return model, [p for p in sorted(model.rglob("*")) if p.is_file()], []
    if form == "external":
        path = folder / "net.onnx"
        given = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
        onnx.save(small_network(), str(path), **given)
        return path, [path, folder / "w.bin"], []
    path = folder / f"net.{form}"
    if form == "onnx":
        onnx.save(small_network(), str(path))
    elif form == "pbtxt":
        path.write_text(NET)
    else:
        shutil.copy(FILES / "graphdefs" / "ops_matrices.pb", path)
    return path, [path], []


@pytest.mark.parametrize("form", ["onnx", "external", "pb", "pbtxt", "checkpoint", "SavedModel"])
def test_damaged_files_get_a_sentence(rillet, tmp_path, form):
    source, files, more = sources(form, tmp_path)
    good = {path: path.read_bytes() for path in files}
    there, out = sorted(tmp_path.rglob("*")), tmp_path / "out.tflite"
    rng = random.Random(form)
    refused = 0
    for i in range(COUNT):
        path = rng.choice(files)
        path.write_bytes(damaged(good[path], rng))
        outcome = rillet("convert", source, "-o", out, *more)
        path.write_bytes(good[path])
        said = f"{form} #{i}, {path.name}: {outcome.code} {outcome.err}"
        assert outcome.code in (errors.OK, errors.MISTAKE, errors.UNSUPPORTED), said
        if outcome.code:
            refused += 1
            assert outcome.err.startswith("rillet: ") and len(outcome.err) < 4000, said
        else:
            out.unlink()
        assert sorted(tmp_path.rglob("*")) == there, said
    assert refused > COUNT // 4
    assert rillet("check", source, *more).code == errors.OK


def test_texts_may_begin_with_a_blank_line(rillet, tmp_path):
    """The tag of a binary GraphDef's first node is a newline, too."""
    path = tmp_path / "net.pbtxt"
    for start in ("", "\n", "\r\n \t\n", "# a comment\n\n"):
        path.write_text(start + NET.strip(), newline="")
        assert rillet("check", path).code == errors.OK
