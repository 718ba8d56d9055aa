# SPDX-License-Identifier: Apache-2.0
"""Error bounds of core/math in units in the last place (ULP), measured through one-op models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from single_op import ISAS, Out, run, single_op

COUNT = 1_000_000


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in float32 steps at the exact value, where that is a normal float32."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    normal = np.isfinite(rounded) & (np.abs(rounded) > np.finfo(np.float32).tiny)
    step = np.spacing(np.abs(rounded[normal])).astype(np.longdouble)
    return np.abs((found[normal].astype(np.longdouble) - exact[normal]) / step)


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any) -> Any:
    x = x.astype(np.float64)
    return x * 0.5 * np.vectorize(math.erfc, otypes=[float])(x * -math.sqrt(0.5))


# Op, exact function, interval that matters, bound in ULP.
ROWS: list[tuple[str, Callable[[Any], Any], tuple[float, float], float]] = [
    ("EXP", np.exp, (-110, 95), 0.95),
    ("ELU", lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x), (-20, 5), 1.1),
    ("LOG", np.log, (0, 3), 0.9),
    ("LOGISTIC", logistic, (-110, 110), 2.5),
    ("TANH", np.tanh, (-10, 10), 1.5),
    ("SQRT", np.sqrt, (0, 10), 0.5),
    ("RSQRT", lambda x: 1 / np.sqrt(x), (0, 10), 2.5),
    ("SIN", np.sin, (-30, 30), 0.501),
    ("COS", np.cos, (-30, 30), 0.501),
    ("GELU", gelu, (-9, 9), 7),
]


@pytest.mark.parametrize(("op", "exact", "interval", "bound"), ROWS, ids=[row[0] for row in ROWS])
def test_error_in_ulp(op: str, exact: Any, interval: Any, bound: float, rng: Any) -> None:
    near = rng.uniform(*interval, COUNT).astype(np.float32)
    bits = rng.integers(0, 2**32, COUNT, np.uint32).view(np.float32)  # every exponent
    for x in (near, bits):
        found = run(single_op(op, [x]))
        with np.errstate(all="ignore"):
            wanted = exact(x.astype(np.longdouble))
        error = ulps(found, wanted)
        print(f"{op}: at most {float(error.max()):.3f} ULP over {error.size:,} values")
        assert error.max() <= bound
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))


def test_power_is_rounded_once(rng: Any) -> None:
    x = np.abs(rng.normal(0, 3, COUNT)).astype(np.float32)
    y = rng.uniform(-60, 60, COUNT).astype(np.float32)
    found = run(single_op("POW", [x, y]))
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    assert ulps(found, wanted).max() <= 0.501


@pytest.mark.parametrize(
    ("op", "exact"), [("FLOOR", np.floor), ("CEIL", np.ceil), ("ROUND", np.rint)]
)
def test_rounding_has_no_error(op: str, exact: Any, rng: Any) -> None:
    bits = rng.integers(0, 2**32, COUNT, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        x = np.concatenate([bits[~np.isnan(bits)], rng.integers(-99, 99, 5000) / np.float32(2)])
    np.testing.assert_array_equal(
        run(single_op(op, [x.astype(np.float32)])), exact(x.astype(np.float32))
    )


def test_half_precision_both_ways(rng: Any) -> None:
    bits = rng.integers(0, 2**32, COUNT, np.uint32).view(np.float32)
    small = (rng.normal(0, 1, COUNT) * 10 ** rng.uniform(-8, 5, COUNT)).astype(np.float32)
    for x in (bits, small):
        with np.errstate(all="ignore"):
            wanted = x.astype(np.float16)
        found = run(single_op("CAST", [x], Out("FLOAT16")))
        np.testing.assert_array_equal(found, wanted)
        back = run(single_op("CAST", [wanted], Out("FLOAT32")))
        np.testing.assert_array_equal(back, wanted.astype(np.float32))


@pytest.mark.parametrize("op", ["SIN", "COS", "POW"])
def test_unusual_values_change_no_others(op: str, rng: Any) -> None:
    """Loops leave them to a function, with all values of their chunk."""
    x = rng.uniform(0.1, 30, 200).astype(np.float32)
    y = [rng.uniform(-3, 3, 200).astype(np.float32)] if op == "POW" else []
    strange = x.copy()
    strange[[0, 70, 133, 199]] = [0, np.inf, -3e38, np.nan]
    usual = np.isin(np.arange(200), [0, 70, 133, 199], invert=True)
    for isa in ISAS:
        plain, mixed = (run(single_op(op, [v, *y]), isa=isa) for v in (x, strange))
        np.testing.assert_array_equal(mixed[usual], plain[usual])
        alone = [
            run(single_op(op, [strange[i : i + 1], *(v[i : i + 1] for v in y)])) for i in (0, 70)
        ]
        np.testing.assert_array_equal(mixed[[0, 70]], np.concatenate(alone))
        assert np.isnan(mixed[[133 if op == "POW" else 199, 199]]).all()
