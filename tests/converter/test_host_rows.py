# SPDX-License-Identifier: Apache-2.0
"""Every op with a row, on every sample of its record: LiteRT gives what the session gives."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import host_engine as tf
from converter import ConversionError, from_session, optimize, write_tflite
from converter.importers.host import ROWS
from host_engine.framework.build import build
from host_engine.framework.registry import OPS

# Samples that ask for what TFLite does not have, and what the refusal must say.
REFUSED = {
    "is_training=True": lambda name, attrs: attrs.get("is_training"),
}
FROZEN_PARAMETERS = {
    *("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
    *("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    *(f"QuantizeAndDequantizeV{version}" for version in (2, 3, 4)),
}
CASES = [
    pytest.param(name, i, id=f"{name}-{i}")
    for name in sorted(set(OPS) & set(ROWS))
    for i in range(len(OPS[name].samples))
]


def to_float32(value):
    """float64 is the type of samples, float32 that of devices; in arrays, attributes and lists."""
    if isinstance(value, tf.DType):
        return tf.float32 if value.name == "float64" else value
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    return value


def feed(rng, item, domain):
    if isinstance(item, tuple):
        data = rng.standard_normal(item)
        if domain:
            low, high = domain
            data = low + (high - low) / (1 + np.exp(-data))
        return data.astype(np.float32)
    return to_float32(np.asarray(item))


def build_case(name, index):
    """(graph, placeholders with their values, outputs) of one sample of an op's record."""
    record, rng = OPS[name], np.random.default_rng(index)
    sample = record.samples[index]
    feeds, inputs = {}, []
    with tf.Graph().as_default() as graph:

        def tensor(item, formal):
            data = feed(rng, item, sample.domain)
            frozen = name in FROZEN_PARAMETERS and formal is not record.inputs[0]
            if formal.kind in ("index", "int32") or frozen:
                return tf.constant(data)
            given = tf.placeholder(tf.as_dtype(data.dtype), data.shape, name=f"x{len(feeds)}")
            feeds[given] = data
            return given

        for formal, item in zip(record.inputs, sample.inputs, strict=True):
            if formal.is_list:
                inputs.append([tensor(part, formal) for part in item])
            else:
                inputs.append(tensor(item, formal))
        attrs = {key: to_float32(value) for key, value in sample.attrs.items()}
        made = build(name, inputs, attrs)
    outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    return graph, feeds, outputs


@pytest.mark.parametrize(("name", "index"), CASES)
def test_litert_agrees_with_the_session(name, index):
    graph, feeds, outputs = build_case(name, index)
    with tf.Session(graph=graph) as session:
        attrs = OPS[name].samples[index].attrs
        refusals = [text for text, applies in REFUSED.items() if applies(name, attrs)]
        if refusals:
            with pytest.raises(ConversionError, match=f"{name} at node .*{refusals[0]}"):
                from_session(session, list(feeds), outputs)
            return
        expected = session.run(outputs, feed_dict=feeds)
        model = from_session(session, list(feeds), outputs)
    optimize(model, check=True)
    interpreter = Interpreter(model_content=write_tflite(model))
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    for detail, data in zip(details, feeds.values(), strict=True):
        interpreter.set_tensor(detail["index"], data)
    interpreter.invoke()
    for detail, want in zip(interpreter.get_output_details(), expected, strict=True):
        want = np.asarray(want)
        if want.size == 0:  # LiteRT does not hand out empty tensors
            assert tuple(detail["shape"]) == want.shape
            continue
        got = interpreter.get_tensor(detail["index"])
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
        assert got.shape == want.shape
