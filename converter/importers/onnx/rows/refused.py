# SPDX-License-Identifier: Apache-2.0
"""Ops that have no form in TFLite, with the reason and the nearest rewrite."""

from __future__ import annotations

from converter.importers.rows import Rows, refuse

_TEXTS = ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer")
_TRAINING = ("Adagrad", "Adam", "Gradient", "Momentum")
_MAPS = ("CastMap", "DictVectorizer", "CategoryMapper")


def _rows() -> Rows:
    rows: Rows = {
        "ImageDecoder": refuse(
            "decodes images, which devices do outside the model: feed it the decoded pixels"
        ),
        "MelWeightMatrix": refuse(
            "has a size that only values tell: make its inputs constants, and it is computed once"
        ),
    }
    for op in _TEXTS:
        rows[op] = refuse("works on texts, which devices only look up: do it before the model")
    for op in _TRAINING:
        rows[f"ai.onnx.preview.training.{op}"] = refuse(
            "trains: export the model for inference, without it"
        )
    for op in _MAPS:
        rows[f"ai.onnx.ml.{op}"] = refuse("looks labels up: do it outside the model")
    return rows


ROWS: Rows = _rows()
