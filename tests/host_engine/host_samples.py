# SPDX-License-Identifier: Apache-2.0
"""Arrays and graphs out of the samples of op records."""

import numpy as np

import host_engine as tf
from host_engine.framework.build import build_op
from host_engine.framework.registry import OPS


def cases():
    """(id, record, sample) for every sample of every record."""
    return [
        (f"{name}-{i}", record, sample)
        for name, record in sorted(OPS.items())
        for i, sample in enumerate(record.samples)
    ]


def arrays(sample, rng):
    """The sample's inputs with random values in place of shapes; lists stay lists."""

    def value(item):
        if isinstance(item, list):
            return [value(part) for part in item]
        if not isinstance(item, tuple):
            return np.asarray(item)
        if sample.domain is None:
            return rng.standard_normal(item)
        low, high = sample.domain
        return rng.uniform(low, high, item)

    return [value(item) for item in sample.inputs]


def build(record, sample, values, shapes="known"):
    """(graph, operation, flat placeholders, flat values) of a record applied to `values`.

    With shapes "unknown" the placeholders of real inputs do not know their sizes.
    """
    graph = tf.Graph()
    with graph.as_default():
        fed, flat = [], []

        def tensor(value):
            if value.dtype.kind != "f":
                return tf.constant(value)
            shape = value.shape if shapes == "known" else [None] * value.ndim
            fed.append(tf.placeholder(value.dtype, shape))
            flat.append(value)
            return fed[-1]

        inputs = [[tensor(v) for v in x] if isinstance(x, list) else tensor(x) for x in values]
        op = build_op(record.name, inputs, dict(sample.attrs))
    return graph, op, fed, flat
