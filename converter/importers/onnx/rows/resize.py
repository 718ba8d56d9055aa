# SPDX-License-Identifier: Apache-2.0
"""Rows for Resize and Upsample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.forms import resize as forms
from converter.importers.forms.resize import Along, Method
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows


def _method(c: Context) -> Method:
    if c.node.op_type == "Upsample" or c.opset < 11:
        return Method(c.attr("mode", "nearest"), "asymmetric", "floor")
    return Method(
        c.attr("mode", "nearest"),
        c.attr("coordinate_transformation_mode", "half_pixel"),
        c.attr("nearest_mode", "round_prefer_floor"),
        c.attr("cubic_coeff_a", -0.75),
        bool(c.attr("exclude_outside", 0)),
        bool(c.attr("antialias", 0)),
        c.attr("extrapolation_value", 0.0),
    )


def _resize(c: Context) -> ir.Value:
    x, how = c.input(0), _method(c)
    if how.mode not in ("nearest", "linear", "cubic"):
        raise NoForm(f"interpolates by {how.mode!r}: use nearest, linear or cubic")
    dims = basic.rank(c.b, x)
    axes = [basic.axis_of(c.b, x, a) for a in c.attr("axes") or range(dims)]
    scales, sizes = _targets(c)
    count = len(scales) if scales is not None else c.b.fixed_dims(sizes, "its sizes")[0]  # type: ignore[arg-type]
    if count != len(axes):
        raise NoForm(f"has {count} scales or sizes for {len(axes)} axes")
    region = _region(c, how, axes)
    plans = [_plan(c, sample, axes, scales, sizes, region) for sample in (0, 1)]
    touched = [a for a in axes if any(p[a].size != p[a].out or p[a].roi != (0, 1) for p in plans)]
    if all(p[0] == p[1] for p in zip(*([plan[a] for a in touched] for plan in plans), strict=True)):
        return forms.resize(c.b, x, {a: plans[0][a] for a in touched}, how)
    return _dynamic(c, x, touched, plans, how, scales, sizes, axes)


def _targets(c: Context) -> tuple[list[float] | None, ir.Value | None]:
    """(scales, sizes) of which one is given."""
    if c.node.op_type == "Upsample" and not c.has(1):
        given = c.attr("scales")
        if given is None:
            raise NoForm("has no scales: the file is damaged")
        return [float(s) for s in given], None
    index = 2 if c.opset >= 11 and c.node.op_type == "Resize" else 1
    if c.has(index) and c.b.dims(c.input(index)) != (0,):
        return [float(s) for s in c.array(index, "scales").reshape(-1)], None
    if index == 2 and c.has(3):
        return None, c.input(3)
    raise NoForm("has neither scales nor sizes: the file is damaged")


def _region(c: Context, how: Method, axes: Sequence[int]) -> dict[int, tuple[float, float]]:
    if how.coordinates != "tf_crop_and_resize":
        return {}
    roi = c.array(1, "region").reshape(-1)
    if len(roi) != 2 * len(axes):
        raise NoForm(f"has a region of {len(roi)} numbers for {len(axes)} axes")
    return {a: (float(roi[i]), float(roi[len(axes) + i])) for i, a in enumerate(axes)}


def _plan(
    c: Context,
    sample: int,
    axes: Sequence[int],
    scales: list[float] | None,
    sizes: ir.Value | None,
    region: dict[int, tuple[float, float]],
) -> dict[int, Along]:
    """What happens to each axis at one sample of the dynamic sizes."""
    dims = c.b.pair(c.input(0))[sample]
    if scales is not None:
        if any(s <= 0 for s in scales):
            raise NoForm(f"has the scales {scales}, which must be above 0")
        pairs = [(math.floor(dims[a] * s + 1e-9), s) for a, s in zip(axes, scales, strict=True)]
    else:
        assert sizes is not None
        known = c.b.samples(sizes)
        wanted = c.array(3, "sizes") if known is None else known[sample]
        outs = [int(n) for n in wanted.reshape(-1)]
        pairs = [(out, out / dims[a]) for a, out in zip(axes, outs, strict=True)]
        policy = c.attr("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            one = (min if policy == "not_larger" else max)(s for _, s in pairs)
            pairs = [(int(one * dims[a] + 0.5), one) for a in axes]
    return {
        a: Along(dims[a], out, scale, region.get(a, (0.0, 1.0)))
        for a, (out, scale) in zip(axes, pairs, strict=True)
    }


def _dynamic(
    c: Context,
    x: ir.Value,
    touched: list[int],
    plans: list[dict[int, Along]],
    how: Method,
    scales: list[float] | None,
    sizes: ir.Value | None,
    axes: Sequence[int],
) -> ir.Value:
    """Sizes that follow from dynamic ones: only TFLite's own ops can, and only where they compute
    the same at both samples.
    """
    parts = [{a: p[a] for a in touched} for p in plans]
    options = {forms.as_image(x, c.b.dims(x), part, how) for part in parts}
    if len(options) != 1 or None in options:
        raise NoForm(
            "resizes an axis of dynamic size in a way that TFLite's ops do not: give the model's"
            " inputs fixed sizes (--input NAME=SIZES)"
        )
    option = str(options.pop())
    if sizes is not None:
        if c.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NoForm("keeps the aspect of dynamic sizes: give the inputs fixed sizes")
        places = [list(axes).index(a) if a in axes else None for a in (2, 3)]
        shape = basic.shape_of(c.b, x)
        parts_of_size = [
            basic.slice_axis(c.b, shape, 0, axis, axis + 1)
            if place is None
            else basic.slice_axis(c.b, basic.ints(c.b, sizes), 0, place, place + 1)
            for axis, place in zip((2, 3), places, strict=True)
        ]
        return forms.image(c.b, x, basic.concat(c.b, parts_of_size, 0), how.mode, option)
    assert scales is not None
    factors = [scales[list(axes).index(a)] if a in axes else 1.0 for a in (2, 3)]
    if any(f != round(f) for f in factors):
        raise NoForm("has scales that are not whole on dynamic sizes: give the inputs fixed sizes")
    size = basic.slice_axis(c.b, basic.shape_of(c.b, x), 0, 2, 4)
    whole = c.b.constant(factors, "scales", np.int32)
    return forms.image(c.b, x, basic.binary(c.b, "MUL", size, whole), how.mode, option)


ROWS: Rows = {"Resize": _resize, "Upsample": _resize}
