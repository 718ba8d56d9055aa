# SPDX-License-Identifier: Apache-2.0
"""Operations that few networks use: along an axis, scattered by a rule, in the middle."""

from __future__ import annotations

import pytest
from torch_checks import check, floats, torch, whole

nn = torch.nn

V = floats(4, 6)
INTS = whole(4, 6)
I32 = whole(4, 6, kind=torch.int32)
ZEROS = V * (V > -0.5)


def _put(x, mask, values):
    y = x.clone()
    y[mask] = values
    return y


def _by_rule(rule, own, values):
    def function(x, i):
        return x.scatter_reduce(1, i.abs() % 6, x * 2, rule, include_self=own)

    return (function, values, INTS)


SCANS = {
    "cummax": (lambda x: torch.cummax(x, 1), V),
    "cummax of equal ints": (lambda x: torch.cummax(x % 3, 1), INTS),
    "cummin": (lambda x: torch.cummin(x, 0), V),
    "cummin of one": (lambda x: torch.cummin(x[0, 0], 0), V),
    "cumprod": (lambda x: (x.cumprod(1), x.cumprod(-2)), ZEROS),
    "cumprod of ints": (lambda x: x.cumprod(1), INTS % 3),
    "cumprod of bools": (lambda m: m.cumprod(1), V < 1),
}
MIDDLES = {
    "kthvalue": (lambda x: torch.kthvalue(x, 2, 0, keepdim=True), V),
    "median": (lambda x: (x.median(), *x.median(1), *x.median(0, keepdim=True)), V),
    "median of ints": (lambda x: x.median(), INTS),
    "quantile": (lambda x: torch.quantile(x, 0.3, dim=1), V),
}
SCATTERED = {
    f"{rule} {'with' if own else 'without'} its own {values.dtype}": _by_rule(rule, own, values)
    for rule in ("sum", "prod", "mean", "amax", "amin")
    for own in (True, False)
    for values in (V, I32)
}
SCATTERED["multiply"] = (lambda x, i: x.scatter(1, i.abs() % 6, x, reduce="multiply"), V, INTS)
SCATTERED["index_reduce"] = (
    lambda x, y: x.index_reduce(0, torch.tensor([0, 2, 0]), y[:3], "amax"),
    V,
    V * 2,
)

MASKED = {
    "as many values as places": (
        lambda x, y: _put(x, x > 0, y.flatten()[: V.gt(0).sum()]),
        V,
        V * 2,
    ),
    "values that are found": (lambda x: _put(x, x > 0, x[x > 0] * 2), V),
    "rows that are found": (lambda x: _put(x, x[:, 0] > 0, x[x[:, 0] > 0] * 2), V),
    "nothing is found": (lambda x: _put(x, x > 9, x[x > 9] * 2), V),
    "one row for all": (lambda x: _put(x, x[:, 0] > 0, x[1]), V),
    "one row of one for all": (lambda x: _put(x, x[:, 0] > 0, x[1:2, :1]), V),
    "whole numbers": (lambda x: _put(x, x > 0, x[x > 0] * 2), INTS),
    "masked_scatter": (lambda x, y: x.masked_scatter(x > 0, y), V, V * 2),
    "masked_scatter of rows": (lambda x, y: x.masked_scatter(x[:, :1] > 0, y), V, V * 2),
}
TRUTHS = {
    "all and any": (
        lambda m: (torch.ops.aten._is_all_true(m), torch.ops.aten._is_any_true(m)),
        V > 0,
    ),
    "a size that a condition chooses": (
        lambda x: x * torch.sym_ite((x > 0).all().item(), 2, 3),
        V,
    ),
}
AXES = {
    "matmul of six axes": (lambda x: x @ x.mT, floats(2, 1, 3, 2, 2, 4)),
    "matmul of six axes that broadcast": (lambda x: x @ x[:1, :, :1].mT, floats(2, 1, 3, 2, 2, 4)),
    "linear of six axes": (nn.Linear(4, 3), floats(2, 1, 3, 2, 2, 4)),
}
COUNTS = {
    "histc": (lambda x: torch.histc(x, 5, -1, 1.5), V),
    "histc of edges": (lambda x: torch.histc(x.float(), 4, 0, 3), INTS),
}
CASES = {**SCANS, **MIDDLES, **SCATTERED, **MASKED, **TRUTHS, **AXES, **COUNTS}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function, *inputs = CASES[name]
    check(function, *inputs)


@torch.library.custom_op("test_seldom_ops::grouped_mm_fallback", mutates_args=())
def grouped_product(input: torch.Tensor, weight: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
    """As transformers defines it: rows up to offs[i] times weight[i], zeros behind the last."""
    found, begin = input.new_zeros(len(input), weight.shape[2]), 0
    for matrix, end in zip(weight, offs.tolist(), strict=True):
        found[begin:end], begin = input[begin:end] @ matrix, end
    return found


@grouped_product.register_fake
def _(input, weight, offs):
    return input.new_empty(len(input), weight.shape[2])


class Experts(nn.Module):
    """Each row goes to the two experts with the best scores, sorted into groups."""

    def __init__(self, left_out):
        super().__init__()
        self.left_out = left_out
        self.gate = nn.Linear(8, 4)
        self.weights = nn.Parameter(
            torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(1))
        )

    def forward(self, x):
        scores, chosen = self.gate(x).softmax(-1).topk(2)
        experts, order = torch.sort(chosen.reshape(-1))
        ends = torch.histc(experts.float(), 4, 0, 3).cumsum(0, dtype=torch.int32)
        y = grouped_product(x[order // 2], self.weights, ends - self.left_out)
        y = y * scores.reshape(-1)[order][:, None]
        return torch.zeros_like(y).index_copy(0, order, y).view(-1, 2, 16).sum(1)


@pytest.mark.parametrize("left_out", [0, 2])
def test_experts_of_groups(left_out):
    check(Experts(torch.tensor([0, 0, 0, left_out])), floats(6, 8))
