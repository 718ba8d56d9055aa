# SPDX-License-Identifier: Apache-2.0
"""Rows for normalizations and softmax."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, normalization
from converter.importers.torch.context import Context, Row, Rows

Several = list["ir.Value | None"]


def _batch_norm(c: Context) -> Several:
    """By the running statistics."""
    return [_by_running(c), None, None]


def _by_running(c: Context) -> ir.Value:
    mean = c.value("running_mean")
    kind = ir.numpy_dtype(mean.dtype)
    count = c.b.fixed_dims(mean, "its statistics")
    weight = c.optional("weight") or c.b.constant(np.ones(count), "scale", kind)
    bias = c.optional("bias") or c.b.constant(np.zeros(count), "offset", kind)
    variance = c.value("running_var")
    return normalization.by_statistics(
        c.b, c.value("input"), weight, bias, mean, variance, c.arg("eps")
    )


def _batch_norm_of_batch(c: Context) -> Several:
    """By the statistics of the batch itself."""
    x = c.value("input")
    if "training" in c.arguments and not c.arg("training"):
        return _batch_norm(c)
    axes = [i for i in range(basic.rank(c.b, x)) if i != 1]
    return [*_standardized(c, x, axes, 1), None, None]


def _standardized(c: Context, x: ir.Value, axes: list[int], along: int) -> list[ir.Value]:
    found = normalization.standardized(c.b, x, axes, c.arg("eps"))[0]
    return [normalization.scaled(c.b, found, c.optional("weight"), c.optional("bias"), along)]


def _instance_norm(c: Context) -> ir.Value:
    if not c.arg("use_input_stats"):
        return _by_running(c)
    x = c.value("input")
    return _standardized(c, x, list(range(2, basic.rank(c.b, x))), 1)[0]


def _layer_norm(c: Context) -> Several:
    x = c.value("input")
    axes = range(-len(c.arg("normalized_shape")), 0)
    found, mean, spread = normalization.standardized(c.b, x, axes, c.arg("eps"))
    weight, bias = c.optional("weight"), c.optional("bias")
    return [normalization.scaled(c.b, found, weight, bias), mean, spread]


def _group_norm(c: Context) -> ir.Value:
    groups = c.arg("num_groups" if "num_groups" in c.arguments else "group")
    found = normalization.in_groups(c.b, c.value("input"), groups, c.arg("eps"))
    return normalization.scaled(c.b, found, c.optional("weight"), c.optional("bias"), 1)


def _softmax(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = basic.cast(c.b, c.value("self"), c.result_type())
        return normalization.softmax(c.b, op, x, c.arg("dim"))

    return row


ROWS: Rows = {
    "_log_softmax": _softmax("LOG_SOFTMAX"),
    "_native_batch_norm_legit": _batch_norm_of_batch,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_softmax": _softmax("SOFTMAX"),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "layer_norm": lambda c: _layer_norm(c)[0],
    "native_group_norm": lambda c: [_group_norm(c), None, None],
    "native_layer_norm": _layer_norm,
}
