# SPDX-License-Identifier: Apache-2.0
"""Names, types and structures at the border of a converted PyTorch module."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch_checks import Function, check, compare, torch

import converter

nn = torch.nn


@dataclasses.dataclass
class Found:
    scores: torch.Tensor
    boxes: list[torch.Tensor]


torch.utils._pytree.register_dataclass(Found)


def outputs(model: converter.ir.Model) -> list[str]:
    return list(model.signatures[0].outputs)


# -- names ------------------------------------------------------------------------------------


def test_keys_of_dictionaries_are_names():
    def forward(x):
        return {"high": x * 2, "states": (x + 1, {"last": x - 1})}

    model = check(forward, torch.ones(3))
    assert outputs(model) == ["high", "states_0", "states_1_last"]


def test_fields_of_classes_are_names():
    model = check(lambda x: Found(x * 2, [x + 1, x + 2]), torch.ones(3))
    assert outputs(model) == ["scores", "boxes_0", "boxes_1"]


def test_places_in_tuples_are_numbers():
    assert outputs(check(lambda x: (x * 2, x + 1), torch.ones(3))) == ["output", "output_1"]


def test_keyword_arguments_are_inputs():
    class Named(nn.Module):
        def forward(self, x, *, scale, offset=None):
            return x * scale if offset is None else x * scale + offset

    x, scale = torch.ones(3), torch.full((3,), 2.0)
    model = check(Named(), x, example_kwargs={"scale": scale})
    assert list(model.signatures[0].inputs) == ["x", "scale"]
    check(Named(), x, example_kwargs={"offset": x, "scale": scale})


def test_inputs_in_lists_and_dictionaries():
    def forward(pair, named):
        return pair[0] * pair[1] + named["bias"]

    check(forward, (torch.ones(3), torch.ones(3) * 2), {"bias": torch.ones(3)})


# -- what goes through unchanged -----------------------------------------------------------------


def test_an_unused_input_stays():
    model = check(lambda x, y: x * 2, torch.ones(3), torch.ones(2))
    assert len(model.main.inputs) == 2


def test_an_input_may_be_an_output():
    check(lambda x: (x, x, x * 2), torch.ones(3))


def test_one_value_may_be_two_outputs():
    def forward(x):
        y = x * 2
        return y, y, y.view(3, 1)

    check(forward, torch.ones(3))


def test_constants_may_be_outputs():
    check(lambda x: (x + 1, torch.arange(4), 7, 2.5), torch.ones(3))


def test_absent_outputs_are_left_out():
    assert outputs(check(lambda x: (x * 2, None), torch.ones(3))) == ["output"]


def test_numbers_given_are_fixed():
    class Scaled(nn.Module):
        def forward(self, x, factor, mode):
            return x * factor if mode == "up" else x / factor

    model = converter.from_torch(Scaled(), (torch.ones(3), 3.0, "up"))
    assert list(model.signatures[0].inputs) == ["x"]


def test_parameters_that_modules_share():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(11, 6)
            self.head = nn.Linear(6, 11, bias=False)
            self.head.weight = self.words.weight

        def forward(self, ids):
            return self.head(self.words(ids))

    check(Tied(), torch.tensor([[1, 4, 10]]))


def test_a_tensor_alone_is_an_example():
    model = converter.from_torch(Function(lambda x: x * 2), torch.ones(3))
    assert len(model.main.inputs) == 1


def test_training_mode_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    converter.from_torch(module, (torch.ones(1, 3),))
    assert module.training and module[1].training


# -- types ---------------------------------------------------------------------------------


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )


@pytest.mark.parametrize(
    ("kind", "border", "tolerance"),
    [
        (torch.float16, "FLOAT16", 5e-3),
        (torch.bfloat16, "FLOAT32", 3e-2),
        (torch.float64, "FLOAT64", 1e-4),
    ],
)
def test_floats_of_other_widths(kind, border, tolerance):
    torch.manual_seed(0)
    module, x = small_network().to(kind).eval(), torch.randn(2, 3, 6, 6).to(kind)
    model = converter.from_torch(module, (x,))
    assert model.main.inputs[0].dtype == model.main.outputs[0].dtype == border
    compare(model, module, x, tolerance=tolerance)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_integers(kind):
    x = torch.arange(24).view(2, 3, 4).to(kind)
    check(lambda x: (x.float() / 255, x.permute(2, 0, 1), x + x, x > 3), x)


def test_complex_numbers_are_refused():
    with pytest.raises(converter.ConversionError, match="complex"):
        converter.from_torch(Function(torch.fft.rfft), (torch.ones(8),))


# -- sizes ---------------------------------------------------------------------------------


def test_sizes_are_computed():
    """Reshapes, ranges, tiles and slices that follow from a dynamic length."""

    class Sizes(nn.Module):
        def forward(self, x):
            batch, length, width = x.shape
            places = torch.arange(length, dtype=torch.float32)
            y = (x + places[:, None]).reshape(batch, length * 2, width // 2)
            y = torch.cat([y, y.new_zeros(batch, 1, width // 2)], 1)
            y = y[:, 1:].expand(batch, -1, -1) / (length + 1)
            return y.mean(1), y.sum() / y.numel(), torch.full((batch, 2), 3.0), length

    length = torch.export.Dim("length", min=2, max=64)
    module, x = Sizes().eval(), torch.randn(2, 6, 4)
    batch = torch.export.Dim("batch", min=1, max=16)
    model = converter.from_torch(module, (x,), dynamic_shapes=({0: batch, 1: length},))
    converter.optimize(model)
    for sizes in ((2, 6, 4), (1, 9, 4), (5, 33, 4)):
        compare(model, module, torch.randn(*sizes))


def test_a_length_stays_within_its_bounds():
    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(8, 4))

        def forward(self, x):
            return x + self.table[: x.shape[1]]

    length = torch.export.Dim("length", min=1, max=8)
    module = Places().eval()
    model = converter.from_torch(module, (torch.randn(1, 3, 4),), dynamic_shapes=({1: length},))
    for size in (1, 5, 8):
        compare(model, module, torch.randn(1, size, 4))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_of_dynamic_batch(kind):
    """Their length is fixed by torch.export itself."""
    module = kind(3, 4, 2, batch_first=True, bidirectional=True).eval()
    x = torch.randn(2, 5, 3)
    sizes = ({0: torch.export.Dim("b", min=1, max=9)},)
    model = converter.from_torch(module, (x,), dynamic_shapes=sizes)
    converter.optimize(model)
    assert [node.kind for node in model.main.nodes].count(f"rillet.{kind.__name__.lower()}") == 4
    for batch in (1, 3, 7):
        compare(model, module, torch.randn(batch, 5, 3))
    with pytest.raises(converter.ConversionError, match="marked t as dynamic"):
        length = ({1: torch.export.Dim("t", min=2, max=99)},)
        converter.from_torch(module, (x,), dynamic_shapes=length)


def test_images_of_dynamic_size():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Upsample(scale_factor=2), nn.ReLU())
    edge = {2: torch.export.Dim("h", min=8, max=256), 3: torch.export.Dim("w", min=8, max=256)}
    model = converter.from_torch(
        module.eval(), (torch.randn(1, 3, 16, 16),), dynamic_shapes=(edge,)
    )
    converter.optimize(model)
    compare(model, module, torch.randn(1, 3, 20, 24))


# -- programs and commands ----------------------------------------------------------------------


def test_programs_that_were_exported():
    module = small_network().eval()
    x = torch.randn(1, 3, 6, 6)
    program = torch.export.export(module, (x,))
    for given in (program, program.run_decompositions()):
        compare(converter.from_torch(given), module, x)


SCRIPT = """
import torch

def classifier():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1)), (torch.ones(2, 4),)
"""


def test_the_command_converts_what_a_function_gives(tmp_path: Path):
    (tmp_path / "made.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, "-m", "rillet", "convert", "made.py:classifier", "-o", "made.tflite"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(converter.__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "PyTorch" in result.stdout and "ok" in result.stdout
    import runtime

    run = runtime.Interpreter(model_path=str(tmp_path / "made.tflite")).get_signature_runner()
    assert np.allclose(sum(run(input=np.ones((2, 4), np.float32))["output"][0]), 1)
