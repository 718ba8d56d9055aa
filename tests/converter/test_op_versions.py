# SPDX-License-Identifier: Apache-2.0
"""Op versions and runtime releases against what TensorFlow's converter wrote into public models."""

from __future__ import annotations

import pytest
from zoo import zoo_files

from converter import read_tflite
from converter.op_versions import op_version
from converter.runtime_versions import min_runtime_version, release_of
from converter.schema import ENUMS

# Files written by tools that kept a lower number than TFLite's own table gives.
RAISED = {
    "DEQUANTIZE": "float16 weights need version 3; early converters wrote 2",
    "RESIZE_BILINEAR": "half_pixel_centers needs version 3; MediaPipe's converter wrote 1",
}


def release(text):
    return tuple(map(int, text.split(".")))


@pytest.mark.parametrize("path", zoo_files("models/tflite/*.tflite"), ids=lambda p: p.stem)
def test_versions_are_no_higher_than_recorded(path):
    model = read_tflite(path)
    recorded, ours = {}, {}
    for node in model.main.nodes:
        recorded[node.op] = max(recorded.get(node.op, 1), node.version)
        ours[node.op] = max(ours.get(node.op, 1), op_version(node))
    higher = {op for op in ours if ours[op] > recorded[op]}
    assert higher <= set(RAISED)
    # One number serves all nodes of an op in older files, so only the quantized ones must agree.
    for op in ("CONV_2D", "ADD", "MUL", "AVERAGE_POOL_2D", "CONCATENATION"):
        assert ours.get(op) == recorded.get(op)


def test_releases_are_known_for_the_common_ops():
    for op in ("CONV_2D", "FULLY_CONNECTED", "SOFTMAX", "RESHAPE", "STABLEHLO_COMPOSITE"):
        assert release(release_of(op, 1)) >= (1, 5, 0)
    assert release_of("FULLY_CONNECTED", 12) == "2.17.0"
    assert release_of("FULLY_CONNECTED", 99) == ""
    assert release_of("CUSTOM", 1) == ""


def test_no_release_is_older_than_the_one_of_the_version_before():
    for op in ENUMS["BuiltinOperator"].members:
        found = [release_of(op, version) for version in range(1, 20)]
        known = [release(text) for text in found if text]
        assert known == sorted(known), op


def test_a_model_needs_the_newest_of_its_ops():
    for path in zoo_files("models/tflite/kws_ref_model.tflite"):
        assert min_runtime_version(read_tflite(path)) == "1.14.0"  # int8 convolution
