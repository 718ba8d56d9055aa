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

CASES = {**SCANS, **MIDDLES, **SCATTERED}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function, *inputs = CASES[name]
    check(function, *inputs)
