# SPDX-License-Identifier: Apache-2.0
"""Ops that devices cannot do, with what to do instead."""

from __future__ import annotations

from converter import ir
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows

_TRAINING = "is for training: export the module's forward alone"
_REASONS = {
    "_adaptive_avg_pool2d_backward": _TRAINING,
    "avg_pool2d_backward": _TRAINING,
    "convolution_backward": _TRAINING,
    "embedding_dense_backward": _TRAINING,
    "lgamma": "has no form in TFLite: give it as a table, or compute it before the model",
    "max_pool2d_with_indices_backward": _TRAINING,
    "native_group_norm_backward": _TRAINING,
    "native_layer_norm_backward": _TRAINING,
}


def _refusal(reason: str) -> Row:
    def row(c: Context) -> ir.Value:
        raise NoForm(reason)

    return row


ROWS: Rows = {name: _refusal(reason) for name, reason in _REASONS.items()}
