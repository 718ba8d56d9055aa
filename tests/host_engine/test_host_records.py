# SPDX-License-Identifier: Apache-2.0
"""Every op record: static shape and type against what is computed, gradient against differences."""

import re

import numpy as np
import pytest
from host_samples import arrays, build, cases

import host_engine as tf
from host_engine.framework.registry import NOT_DIFFERENTIABLE, OPS

CASES = cases()
DIFFERENTIABLE = [
    case for case in CASES if case[1].grad not in (None, NOT_DIFFERENTIABLE) and case[1].inputs
]
# Operations whose output sizes depend on values, or that forget them on purpose.
DYNAMIC = (
    *("Where", "BroadcastGradientArgs", "PlaceholderWithDefault"),
    *("NonMaxSuppressionV2", "NonMaxSuppressionV3"),
)
# Operations that only make sense with a session's state, or that make nothing.
WITHOUT_SAMPLES = {
    *("Placeholder", "VariableV2", "Assign", "AssignAdd", "AssignSub", "IsVariableInitialized"),
    *("NoOp", "ApplyGradientDescent", "ApplyMomentum", "ApplyAdam", "ApplyRMSProp"),
    *("ApplyAdagrad", "Assert", "PrintV2", "StringFormat"),
}
# Loops, branches, lists, complex numbers and speech, whose tests are in test_host_loops.py.
FLOW = re.compile(
    "Complex|ComplexAbs|Conj|Angle|Real|Imag|(I?R?FFT)([23]D)?|AudioSpectrogram|Mfcc|"
    "(Stateless)?(While|If|Case)|WhileGrad|(Stateful)?PartitionedCall|_SwitchN|LoopCond|"
    "ControlTrigger|"
    "(Ref)?(Switch|Merge|Enter|Exit|NextIteration)|TensorArray.*|(Empty)?TensorList.*"
)


def ids(rows):
    return [row[0] for row in rows]


def as_float32(value):
    if isinstance(value, list):
        return [as_float32(v) for v in value]
    return value.astype(np.float32) if value.dtype == np.float64 else value


def test_every_record_has_samples():
    without = {name for name, record in OPS.items() if not record.samples}
    assert {name for name in without if not FLOW.fullmatch(name)} == WITHOUT_SAMPLES


@pytest.mark.parametrize("shapes", ["known", "unknown"])
@pytest.mark.parametrize(("_", "record", "sample"), CASES, ids=ids(CASES))
def test_static_shape_and_type_are_those_computed(_, record, sample, shapes):
    values = arrays(sample, np.random.default_rng(1))
    graph, op, fed, flat = build(record, sample, values, shapes)
    results = tf.Session(graph=graph).run(op.outputs, dict(zip(fed, flat, strict=True)))
    for tensor, result in zip(op.outputs, results, strict=True):
        assert tensor.shape.is_compatible_with(np.shape(result))
        assert tensor.dtype == np.asarray(result).dtype
        if shapes == "known" and record.name not in DYNAMIC:
            assert tensor.shape.as_list() == list(np.shape(result))


@pytest.mark.parametrize(("_", "record", "sample"), CASES, ids=ids(CASES))
def test_float32_stays_float32(_, record, sample):
    if any(v in (tf.float64,) for v in sample.attrs.values()):
        attrs = {k: tf.float32 if v is tf.float64 else v for k, v in sample.attrs.items()}
        sample = type(sample)(sample.inputs, attrs, sample.domain, sample.wrt, sample.outputs)
    values = [as_float32(v) for v in arrays(sample, np.random.default_rng(1))]
    if "value" in sample.attrs:
        sample.attrs["value"] = as_float32(sample.attrs["value"])
    graph, op, fed, flat = build(record, sample, values)
    results = tf.Session(graph=graph).run(op.outputs, dict(zip(fed, flat, strict=True)))
    for tensor, result in zip(op.outputs, results, strict=True):
        assert np.asarray(result).dtype != np.float64
        assert tensor.dtype == np.asarray(result).dtype


@pytest.mark.parametrize("shapes", ["known", "unknown"])
@pytest.mark.parametrize(("_", "record", "sample"), DIFFERENTIABLE, ids=ids(DIFFERENTIABLE))
def test_gradient_is_the_transpose_of_the_difference_quotient(_, record, sample, shapes):
    """w . (J v) by central differences equals (J^T w) . v by the gradient, for random v and w."""
    rng = np.random.default_rng(7)
    values = arrays(sample, rng)
    graph, op, fed, flat = build(record, sample, values, shapes)
    outputs = [t for t in op.outputs if t.dtype.is_floating]
    if sample.outputs is not None:
        outputs = [op.outputs[i] for i in sample.outputs]
    real = [i for i, t in enumerate(op.inputs) if t.dtype.is_floating]
    wrt = real if sample.wrt is None else list(sample.wrt)
    if not wrt:
        return
    session = tf.Session(graph=graph)
    at = dict(zip(fed, flat, strict=True))
    xs = [op.inputs[i] for i in wrt]
    v = {x: rng.standard_normal(at[x].shape) for x in xs}
    w = [rng.standard_normal(np.shape(y)) for y in session.run(outputs, at)]
    step = 1e-6

    def shifted(sign):
        moved = at | {x: at[x] + sign * step * v[x] for x in xs}
        return session.run(outputs, moved)

    quotient = sum(
        ((up - down) / (2 * step) * weight).sum()
        for up, down, weight in zip(shifted(1), shifted(-1), w, strict=True)
    )
    with graph.as_default():
        grads = tf.gradients(outputs, xs, [tf.constant(weight) for weight in w])
    assert all(g is not None for g in grads)
    product = sum((g * v[x]).sum() for g, x in zip(session.run(grads, at), xs, strict=True))
    assert product == pytest.approx(quotient, rel=1e-6, abs=1e-7)


def test_gradient_check_finds_a_wrong_gradient():
    """The check itself: a gradient off by a factor is far outside the tolerance."""
    x = tf.placeholder(tf.float64, [3])
    y = tf.square(x)
    (grad,) = tf.gradients(y, x)
    with tf.Session() as session:
        got = session.run(grad * 1.001, {x: [1.0, 2.0, 3.0]})
    assert not np.allclose(got, [2.0, 4.0, 6.0], rtol=1e-6)
