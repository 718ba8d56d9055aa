# SPDX-License-Identifier: Apache-2.0
"""What cannot be converted is refused in a sentence: where, what shapes, why, what to do."""

from __future__ import annotations

import pytest
from torch_checks import Function, floats, torch

import converter
from converter.importers.torch.rows import ROWS

nn = torch.nn

# Core ops that no exported program for inference has.
WITHOUT_A_ROW = {
    "col2im",  # is taken apart, into index_put
    "resize_",  # changes a tensor in place, which torch.export makes into functions
    "sym_is_contiguous",  # asks about memory while a program is traced
}


def core_ops() -> set[str]:
    registered = torch._C._dispatch_get_all_op_names()
    aten = {name.partition("::")[2].partition(".")[0] for name in registered if "aten::" in name}
    packets = {name: getattr(torch.ops.aten, name, None) for name in aten}
    return {
        name
        for name, packet in packets.items()
        if packet is not None
        and any(torch.Tag.core in getattr(packet, o).tags for o in packet.overloads())
    }


def test_every_core_op_has_a_row():
    found = core_ops()
    assert len(found) > 150 and found - set(ROWS) == WITHOUT_A_ROW


class Inner(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Outer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner = Inner(function)

    def forward(self, x):
        return self.inner(x) * 2


REFUSED = {
    "unknown": (lambda x: torch.linalg.qr(x)[0], "has no form in TFLite"),
    "places of adaptive pooling": (
        lambda x: nn.functional.adaptive_max_pool1d(x[None], 2, return_indices=True)[1],
        "max_pool with a fixed kernel",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_module_the_shapes_and_the_way_out(name):
    function, words = REFUSED[name]
    with pytest.raises(converter.ConversionError, match=words) as raised:
        converter.from_torch(Outer(function), (floats(4, 6),))
    assert "at 'inner/" in str(raised.value) and "6]" in str(raised.value)


def test_an_error_in_a_row_is_an_obstacle(monkeypatch):
    def broken(c):
        raise KeyError("surprise")

    monkeypatch.setitem(ROWS, "tanh", broken)
    with pytest.raises(converter.ConversionError, match=r"tanh at 'tanh' .*KeyError: 'surprise'"):
        converter.from_torch(Function(lambda x: x.tanh() + 1), (floats(3),))


def test_functions_are_put_into_modules():
    with pytest.raises(converter.ConversionError, match="module's forward"):
        converter.from_torch(torch.relu, (floats(3),))


def test_data_dependent_branches_say_what_to_write():
    with pytest.raises(converter.ConversionError, match=r"torch\.where or torch\.cond"):
        converter.from_torch(Function(lambda x: x if x.sum() > 0 else -x), (floats(3),))


def test_an_op_that_is_called_for_its_effect_is_an_obstacle():
    class Printing(nn.Module):
        def forward(self, x):
            torch.ops.aten._print("seen")
            return torch.linalg.inv(x) + torch.linalg.lu_factor(x)[0]

    with pytest.raises(converter.ConversionError, match="linalg_lu_factor_ex") as raised:
        converter.from_torch(Printing(), (floats(3, 3),))
    assert "KeyError" not in str(raised.value)


def test_what_cannot_be_exported_names_the_line():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    class Wrong(nn.Module):
        def forward(self, x):
            return x.reshape(7)

    for module, code in ((Branching(), "return x if x.sum"), (Wrong(), "return x.reshape")):
        with pytest.raises(converter.ConversionError, match="test_torch_obstacles") as raised:
            converter.from_torch(module, (floats(3),))
        assert code in str(raised.value) and "unhinted" not in str(raised.value)
