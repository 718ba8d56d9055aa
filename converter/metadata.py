# SPDX-License-Identifier: Apache-2.0
"""Writes what a model's users need to know into the model: labels, normalization, image form.

The form is TFLITE_METADATA with labels as an associated file, which the TFLite Support and Task
libraries read too; ``runtime.metadata`` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.flatbuffer import encode
from converter.metadata_schema import FILE_IDENTIFIER

METADATA_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"


@dataclass(frozen=True)
class ImageInput:
    """An input that takes photos: it wants (pixel - mean) / std of pixels in 0..255, one number or
    one per channel. `color` is "RGB" or "GRAYSCALE".
    """

    mean: Sequence[float] = (127.0,)
    std: Sequence[float] = (128.0,)
    color: str = "RGB"


def describe(
    model: ir.Model,
    *,
    images: Mapping[str, ImageInput] | None = None,
    labels: Sequence[str] | None = None,
    name: str = "",
    description: str = "",
    author: str = "",
    license: str = "",
) -> None:
    """Write metadata into `model`, in place of what it has.

    `images` are the inputs that take photos, by their name in the signature; "" stands for the only
    input. `labels` are the classes of the first output. ConversionError where a name is not an
    input's, a number of channels or classes does not fit, or a divisor is 0.
    """
    names = model.end_names()
    given = {
        (_only(names[0]) if key == "" else key): image for key, image in (images or {}).items()
    }
    for key in given:
        if key not in names[0]:
            raise ConversionError(
                f"there is no input {key!r}; the inputs are {', '.join(names[0])}"
            )
    inputs = [
        _input(key, value, given.get(key))
        for key, value in zip(names[0], model.main.inputs, strict=True)
    ]
    outputs: list[dict[str, Any]] = [{"name": key} for key in names[1]]
    if labels is not None:
        outputs[0]["associated_files"] = [_labels(model, list(labels))]
    root = {
        "name": name,
        "description": description,
        "author": author,
        "license": license,
        "min_parser_version": "1.0.0",
        "subgraph_metadata": [{"input_tensor_metadata": inputs, "output_tensor_metadata": outputs}],
    }
    content = {key: value for key, value in root.items() if value != ""}
    model.metadata[METADATA_NAME] = bytes(encode("ModelMetadata", content, FILE_IDENTIFIER))


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise ConversionError(f"say which input takes photos: {', '.join(names)}")
    return names[0]


def _input(key: str, value: ir.Value, image: ImageInput | None) -> dict[str, Any]:
    if image is None:
        return {"name": key}
    mean, std = (np.asarray(part, np.float32).reshape(-1) for part in (image.mean, image.std))
    channels = {1, 3} & set(value.shape[1:]) if len(value.shape) == 4 else set()
    if not channels:
        raise ConversionError(f"input {key!r} is {list(value.shape)}, which takes no photo")
    if {mean.size, std.size} - {1} - channels:
        raise ConversionError(f"mean and std of {key!r} want 1 number, or one per channel")
    if not std.all():
        raise ConversionError(f"the std of input {key!r} is 0")
    return {
        "name": key,
        "content": {"content_properties": ("ImageProperties", {"color_space": image.color})},
        "process_units": [{"options": ("NormalizationOptions", {"mean": mean, "std": std})}],
        "stats": {"max": (255 - mean) / std, "min": -mean / std},
    }


def _labels(model: ir.Model, labels: list[str]) -> dict[str, Any]:
    """Put the labels behind the model; the record that names them."""
    value = model.main.outputs[0]
    classes = value.shape[-1] if value.shape else 0
    if len(labels) != classes:
        raise ConversionError(f"{len(labels)} labels for the {classes} classes of {value.name!r}")
    if any("\n" in label or "\r" in label for label in labels):
        raise ConversionError("a label has a line break in it")
    model.files[LABELS_FILE] = ("\n".join(labels) + "\n").encode()
    return {"name": LABELS_FILE, "description": "classes", "type": "TENSOR_AXIS_LABELS"}
