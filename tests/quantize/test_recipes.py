# SPDX-License-Identifier: Apache-2.0
"""Recipes are data: they round-trip through JSON, and nonsense in them is told."""

from __future__ import annotations

import json

import pytest
from quantize_nets import conv_net, samples

import quantize
from quantize import QuantizationError, Recipe


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe("float16", min_elements=10),
        Recipe("dynamic_int8", per_channel=False),
        Recipe(method="percentile", percentile=99.5, io="float32", overrides={"ADD": "float"}),
    ],
)
def test_round_trip_through_json(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_fields_left_out_take_their_defaults() -> None:
    assert Recipe.from_json('{"kind": "float16"}') == Recipe("float16")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kinds": "float16"}, "unknown recipe field 'kinds'; known are"),
        ({"kind": "int4"}, "field kind: 'int4' is not one of"),
        ({"method": "entropy"}, "field method: 'entropy' is not one of"),
        ({"io": "uint8"}, "field io: 'uint8' is not one of"),
        ({"percentile": 30}, r"percentile: 30 is outside \(50, 100\]"),
        ({"percentile": "99"}, "percentile: wants a number"),
        ({"per_channel": 1}, "per_channel: wants true or false"),
        ({"min_elements": -1}, "min_elements: wants a whole number"),
        ({"overrides": ["ADD"]}, "overrides: wants a mapping"),
        ({"overrides": {"ADD": "int4"}}, r"overrides\['ADD'\]: 'int4' is not one of"),
    ],
)
def test_nonsense_is_told(fields: dict, sentence: str) -> None:
    with pytest.raises(QuantizationError, match=sentence):
        Recipe.from_json(json.dumps(fields))


def test_what_is_not_a_json_object() -> None:
    with pytest.raises(QuantizationError, match="not JSON"):
        Recipe.from_json("{")
    with pytest.raises(QuantizationError, match="JSON object"):
        Recipe.from_json("[]")


@pytest.mark.parametrize("kind", ["float16", "dynamic_int8", "static_int8"])
def test_an_override_that_matches_nothing_is_told(kind: str) -> None:
    model = conv_net()
    recipe = Recipe(kind, overrides={"CONV_3D": "float"})
    with pytest.raises(QuantizationError, match=r"'CONV_3D' matches no node.*'CONV_2D'"):
        quantize.apply(model, recipe, samples(model, 1))


def test_a_name_goes_before_an_op() -> None:
    model = conv_net()
    convs = [n for n in model.main.nodes if n.op == "CONV_2D"]
    overrides = {"CONV_2D": "float", convs[1].outputs[0].name: "quantized"}
    quantized = quantize.static_int8(model, samples(model, 2), overrides=overrides)
    twins = [n for n in quantized.main.nodes if n.op == "CONV_2D"]
    assert [n.outputs[0].dtype for n in twins] == ["FLOAT32", "INT8", "FLOAT32"]
