# SPDX-License-Identifier: Apache-2.0
"""TFLite_Detection_PostProcess against LiteRT's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from single_op import Arg, OpModel, Out, error, litert_all, run_all, single_op

from runtime import RilletError

OPTIONS: dict[str, Any] = {
    "max_detections": 10,
    "max_classes_per_detection": 1,
    "nms_score_threshold": 0.3,
    "nms_iou_threshold": 0.5,
    "num_classes": 5,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def detection(args: list[Any], **changes: Any) -> OpModel:
    options = {key: value for key, value in {**OPTIONS, **changes}.items() if value is not None}
    content = bytes(flexbuffers.Dumps(options))
    return single_op("TFLite_Detection_PostProcess", args, [Out()] * 4, custom_options=content)


def image(rng: Any, boxes: int, columns: int = 6, dtype: str = "float32") -> list[Any]:
    """Encodings, scores without ties and anchors of one image."""
    encodings = rng.normal(0, 2, (1, boxes, 4)).astype(np.float32)
    scores = rng.permutation(boxes * columns).reshape(1, boxes, columns) / (boxes * columns)
    centres = rng.uniform(0, 1, (boxes, 2))
    anchors = np.concatenate([centres, rng.uniform(0.1, 0.4, (boxes, 2))], 1)
    if dtype == "float32":
        return [encodings, scores.astype(np.float32), Arg(anchors.astype(np.float32), const=True)]
    return [
        Arg(np.clip(encodings / 0.1 + 120, 0, 255).astype(np.uint8), 0.1, 120),
        scores.astype(np.float32),
        Arg((anchors * 200).astype(np.uint8), 0.005, 0, const=True),
    ]


def compare(model: OpModel, per_detection: int, regular: bool) -> int:
    found, wanted = run_all(model), litert_all(model)
    count = int(found[3][0])
    assert count == wanted[3][0]
    used = count if regular else count * per_detection
    for mine, other in zip(found[:3], wanted[:3], strict=True):
        assert mine.shape == other.shape
        assert error(mine[:, :used], other[:, :used]) <= 1e-6
        assert not mine[:, used:].any()
    np.testing.assert_array_equal(found[1][:, :used], wanted[1][:, :used])
    return count


@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("boxes", [1, 20, 300])
@pytest.mark.parametrize("columns", [5, 6])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_detections(regular: bool, boxes: int, columns: int, dtype: str, rng: Any) -> None:
    args = image(rng, boxes, columns, dtype)
    for most, iou, per_class in ((10, 0.5, None), (3, 0.1, 2), (200, 1.0, 100)):
        model = detection(
            args,
            max_detections=most,
            nms_iou_threshold=iou,
            use_regular_nms=regular,
            detections_per_class=per_class,
        )
        compare(model, 1, regular)


@pytest.mark.parametrize("per_detection", [1, 2, 5])
def test_several_classes_per_detection(per_detection: int, rng: Any) -> None:
    model = detection(image(rng, 50), max_classes_per_detection=per_detection)
    assert compare(model, per_detection, False) > 3


def test_quantized_scores(rng: Any) -> None:
    args = image(rng, 40, 6, "uint8")
    args[1] = Arg(rng.permutation(240).reshape(1, 40, 6).astype(np.uint8), 1 / 256, 0)
    for regular in (False, True):
        compare(detection(args, use_regular_nms=regular), 1, regular)


def test_nothing_reaches_the_threshold_and_nan_is_no_score(rng: Any) -> None:
    args = image(rng, 5)
    args[1] = np.full((1, 5, 6), np.nan, np.float32)
    for regular in (False, True):
        found = run_all(detection(args, use_regular_nms=regular))
        assert found[3] == 0 and not any(part.any() for part in found[:3])


def test_boxes_turned_inside_out_are_said(rng: Any) -> None:
    args = image(rng, 5)
    args[2] = Arg(-np.ones((5, 4), np.float32), const=True)
    with pytest.raises(RilletError, match="inside out"):
        run_all(detection(args))


FIVE = [np.ones((1, 5, 4), np.float32), np.ones((1, 5, 6), np.float32), np.ones((5, 4), np.float32)]
REFUSED: list[tuple[str, OpModel, str]] = [
    (
        "options",
        single_op("TFLite_Detection_PostProcess", FIVE, [Out(shape=(1,))] * 4, custom_options=b""),
        "no FlexBuffer",
    ),
    ("detections", detection(FIVE, max_detections=0), "max_detections"),
    ("many detections", detection(FIVE, max_detections=2**40), "max_detections"),
    ("classes each", detection(FIVE, max_classes_per_detection=101), "1 to 100"),
    ("classes", detection(FIVE, num_classes=3), "scores of 3 classes"),
    ("threshold", detection(FIVE, nms_iou_threshold=0.0), "nms_iou_threshold"),
    ("scale", detection(FIVE, y_scale=None), "y_scale"),
    ("anchors", detection([FIVE[0], FIVE[1], FIVE[2][:4]]), "anchors"),
    ("two images", detection([np.tile(FIVE[0], (2, 1, 1)), *FIVE[1:]]), "one image"),
    ("mixed", detection([Arg(FIVE[0].astype(np.uint8), 0.1), *FIVE[1:]]), "same type"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run_all(model)
