# SPDX-License-Identifier: Apache-2.0
"""Tables, the training curve and results that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_examples.classify_photos import UsageError
from edge_examples.mnist_convnet import History
from edge_examples.report import (
    Stages,
    make_folder,
    plot_training,
    smoothed,
    table,
    thousands,
    write_json,
)


def test_tables_align_numbers_right_and_text_left() -> None:
    text = table(("model", "bytes", " note"), [("a", "1 234", " x"), ("longer", "5", " yy")])
    assert text.splitlines() == [
        "   model   bytes   note",
        "   ------  -----  -----",
        "   a       1 234   x",
        "   longer      5   yy",
    ]


def test_thousands() -> None:
    assert [thousands(n) for n in (0, 999, 1000, 13095652)] == ["0", "999", "1 000", "13 095 652"]


def test_stages_count_up(capsys: pytest.CaptureFixture) -> None:
    stages = Stages(2)
    stages.begin("Train")
    stages.begin("Convert")
    assert capsys.readouterr().out == "\n== 1/2  Train\n\n== 2/2  Convert\n"


def test_smoothing_has_no_bias_at_the_start() -> None:
    np.testing.assert_allclose(smoothed([3.0] * 10), 3)
    assert smoothed([4.0, 0.0])[1] == pytest.approx(4 * 0.95 / 1.95)


def test_training_curve_is_a_picture(tmp_path: Path) -> None:
    history = History([2.3, 1.0, 0.4, 0.2], [0.5, 0.9], 2)
    plot_training(history, {"a.tflite": 0.9, "b.tflite": 0.89}, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.format == "PNG" and image.width > 2 * image.height
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_unwritable_results_get_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot create the folder"):
        make_folder(tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="cannot write"):
        write_json({}, tmp_path / "absent" / "results.json")
    with pytest.raises(UsageError, match="cannot write"):
        plot_training(History([1.0], [1.0], 1), {}, tmp_path / "absent" / "curve.png")


def test_results_replace_the_file_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json({"a": 1}, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
