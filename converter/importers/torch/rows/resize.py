# SPDX-License-Identifier: Apache-2.0
"""Rows for upsampling (torch.nn.functional.interpolate) and sampling at a grid."""

from __future__ import annotations

import math
from typing import Any

from converter import ir
from converter.importers.forms import basic
from converter.importers.forms import resize as forms
from converter.importers.forms.resize import Along, Method
from converter.importers.forms.sampling import grid_sample
from converter.importers.no_form import NoForm
from converter.importers.torch import sizes
from converter.importers.torch.context import Context, Row, Rows

_NEAREST = Method("nearest", "asymmetric", "floor")
_EXACT = Method("nearest", "half_pixel", "round_prefer_ceil")
_LINEAR = Method("linear")
_CUBIC = Method("cubic")


def _resize(how: Method, antialias: bool = False) -> Row:
    def row(c: Context) -> ir.Value:
        method = how
        if c.arguments.get("align_corners"):
            method = method._replace(coordinates="align_corners")
        if antialias:
            method = method._replace(antialias=True, exclude_outside=True, cubic=-0.5)
        x = c.value("input" if "input" in c.arguments else "self")
        wanted, scales = _targets(c, basic.rank(c.b, x) - 2)
        plans = [_plan(c, x, wanted, scales, sample) for sample in (0, 1)]
        if plans[0] == plans[1]:
            return forms.resize(c.b, x, plans[0], method)
        return _dynamic(c, x, plans, method, wanted, scales)

    return row


def _targets(c: Context, count: int) -> tuple[list[Any] | None, list[float] | None]:
    """(sizes, scales): the sizes may be missing, or the scales, which say where elements lie."""
    if "scale_factors" in c.arguments:
        return c.arg("output_size"), c.arg("scale_factors")
    names = ("scales_d", "scales_h", "scales_w")[-count:] if count > 1 else ("scales",)
    scales = [float(c.arg(name)) for name in names if c.arguments.get(name) is not None]
    return c.arg("output_size"), scales if len(scales) == count else None


def _plan(
    c: Context, x: ir.Value, wanted: list[Any] | None, scales: list[float] | None, sample: int
) -> dict[int, Along]:
    plan = {}
    for i, size in enumerate(c.b.pair(x)[sample][2:]):
        if wanted is None:
            assert scales is not None
            out = math.floor(size * scales[i])
        else:
            out = _at(c, wanted[i], sample)
        plan[i + 2] = Along(size, out, out / size if scales is None else scales[i])
    return plan


def _at(c: Context, size: Any, sample: int) -> int:
    if not isinstance(size, ir.Value):
        return int(size)
    known = c.b.samples(size)
    if known is None:
        raise NoForm("resizes to sizes that depend on values: make them numbers")
    return int(known[sample].reshape(()))


def _dynamic(
    c: Context,
    x: ir.Value,
    plans: list[dict[int, Along]],
    how: Method,
    wanted: list[Any] | None,
    scales: list[float] | None,
) -> ir.Value:
    """Dynamic sizes: TFLite's own ops, where they compute the same at both samples."""
    options = {forms.as_image(x, c.b.dims(x), plan, how) for plan in plans}
    if len(options) != 1 or None in options:
        raise NoForm(
            "resizes an axis of dynamic size in a way that TFLite's ops do not: give the model's"
            " inputs fixed sizes"
        )
    if wanted is None:
        assert scales is not None
        if any(s != round(s) for s in scales):
            raise NoForm("has scales that are not whole on dynamic sizes: give fixed sizes")
        size = basic.slice_axis(c.b, basic.shape_of(c.b, x), 0, 2, None)
        factors = basic.int32s(c.b, [round(s) for s in scales], "scales")
        return forms.image(
            c.b, x, basic.binary(c.b, "MUL", size, factors), how.mode, str(options.pop())
        )
    return forms.image(c.b, x, sizes.vector(c.b, wanted), how.mode, str(options.pop()))


def _sampled(c: Context) -> ir.Value:
    """Images sampled at the places of a grid (torch.nn.functional.grid_sample)."""
    return grid_sample(
        c.b,
        c.value("input"),
        c.value("grid"),
        ("linear", "nearest", "cubic")[c.arg("interpolation_mode")],
        ("zeros", "border", "reflection")[c.arg("padding_mode")],
        bool(c.arg("align_corners")),
    )


ROWS: Rows = {
    "grid_sampler_2d": _sampled,
    "grid_sampler_3d": _sampled,
    **{f"upsample_nearest{n}d": _resize(_NEAREST) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _resize(_EXACT) for n in (1, 2, 3)},
    "_upsample_bicubic2d_aa": _resize(_CUBIC, True),
    "_upsample_bilinear2d_aa": _resize(_LINEAR, True),
    "upsample_bicubic2d": _resize(_CUBIC),
    "upsample_bilinear2d": _resize(_LINEAR),
    "upsample_linear1d": _resize(_LINEAR),
    "upsample_trilinear3d": _resize(_LINEAR),
}
