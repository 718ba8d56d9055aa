# SPDX-License-Identifier: Apache-2.0
"""What `rillet convert` takes from PyTorch: scripts, nested inputs, and .pt2 files."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from converter.sources import TorchSource  # noqa: E402
from rillet.cli import main  # noqa: E402

SCRIPT = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(8, 5)

    def forward(self, image, mask=None, more=None):
        y = torch.relu(self.conv(image)).mean((2, 3))
        if more is not None:
            y = y + more["a"]
        return {"scores": self.last(y), "features": (y, 2 * y)}

IMAGE, MORE = torch.randn(1, 3, 8, 8), {"a": torch.randn(1, 8)}

def plain():
    return Net(), (IMAGE,)

def nested():
    return Net(), (IMAGE, None, MORE)

def program():
    return torch.export.export(Net().eval(), (IMAGE,), {"more": MORE})
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.py"


@pytest.mark.parametrize("function", ["plain", "nested", "program"])
def test_arguments_are_nested_as_forward_takes_them(script, capsys, function):
    assert main(["convert", f"net.py:{function}", "-o", "net.tflite"]) == 0
    out = capsys.readouterr().out
    assert out.count("  ok  ") == 3 and "compared with PyTorch" in out


def test_a_saved_program_converts(script, capsys):
    namespace: dict = {}
    exec(SCRIPT, namespace)
    torch.export.save(namespace["program"](), "net.pt2")
    assert main(["convert", "net.pt2", "-o", "net.tflite"]) == 0
    assert "ok  features_1" in capsys.readouterr().out
    source = TorchSource("net.pt2")
    model = source.convert()
    assert list(model.signatures[0].inputs) == ["image", "more_a"]
    assert source.shapes() == {"image": (1, 3, 8, 8), "more_a": (1, 8)}


def test_what_is_no_program_is_refused_with_the_way_out(script, capsys):
    (script.parent / "bad.pt2").write_bytes(b"PK\3\4 no archive")
    assert main(["check", "bad.pt2"]) == 1
    err = capsys.readouterr().err
    assert "bad.pt2 is no .pt2 archive" in err and "torch.export.save" in err
    torch.save({"w": torch.zeros(1)}, "net.pth")
    assert main(["check", "net.pth"]) == 3
    assert "torch.export.save it as .pt2" in capsys.readouterr().err
    assert main(["convert", "net.pt2", "-o", "x.tflite", "--input", "image=1,3,9,9"]) == 1


def test_a_module_that_cannot_run_gets_a_sentence():
    class Strict(torch.nn.Module):
        def forward(self, x):
            return x + 1

    source = TorchSource(Strict(), (torch.zeros(2, 3),))
    source.convert()
    source.module.forward = lambda x: 1 / 0
    with pytest.raises(Exception, match=r"PyTorch .* cannot run the model .*division by zero"):
        source.run({"x": np.zeros((2, 3), np.float32)})


def test_damaged_programs_get_one_sentence(script, capfd):
    """PyTorch logs tracebacks of its own for each way of reading that fails."""
    namespace: dict = {}
    exec(SCRIPT, namespace)
    torch.export.save(namespace["program"](), "net.pt2")
    with open("net.pt2", "rb") as file:
        content = file.read()
    middle = len(content) // 2
    for damaged, words in (
        (b"", "is no .pt2 archive, or is cut off"),
        (content[:middle], "is no .pt2 archive, or is cut off"),
        (bytes(600) + content[600:], "can load: "),
    ):
        with open("net.pt2", "wb") as file:
            file.write(damaged)
        assert main(["convert", "net.pt2", "-o", "net.tflite"]) == 1
        err = capfd.readouterr().err
        assert err.count("\n") == 1 and words in err and "warnings above" not in err
