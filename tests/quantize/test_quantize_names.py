# SPDX-License-Identifier: Apache-2.0
"""Names are for messages only: equal or endless ones from public files must not matter."""

from __future__ import annotations

import numpy as np
from quantize_nets import Net, conv_net, samples

import quantize
from converter.ir import Model


def all_named_alike() -> Model:
    model = conv_net()
    for value in model.main.values():
        value.name = "same"
    return model


def test_equal_names_do_not_mix_tensors_up() -> None:
    model, plain = all_named_alike(), conv_net()
    a, b = (quantize.static_int8(m, samples(m, 4)) for m in (model, plain))
    for node, twin in zip(a.main.nodes, b.main.nodes, strict=True):
        for value, other in zip(node.outputs, twin.outputs, strict=True):
            assert value.quant == other.quant
    report = quantize.report(model, a, samples(model, 4))
    assert len(report.outputs) == 1 and report.outputs[0].snr_db > 30
    assert report.layers == []  # nothing can be matched by name


def test_the_table_cuts_endless_names() -> None:
    model = conv_net()
    model.main.outputs[0].name = "first;" + "x" * 500 + ";last"
    table = quantize.report(model, quantize.float16(model), samples(model, 1)).table()
    assert max(map(len, table.splitlines())) < 120 and "first;" in table and ";last" in table


def test_integer_inputs_stay_as_they_are() -> None:
    net = Net()
    net.graph.add_input("ids", "INT32", [3])
    words = np.random.default_rng(0).standard_normal((10, 8)).astype(np.float32)
    found = net.op("GATHER", [net.constant(words), net.graph.inputs[0]], axis=0)
    weights = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    model = net.model(net.dense(found, weights, np.zeros(4, np.float32)))
    ids = [np.array(row, np.int32) for row in ([0, 1, 2], [9, 5, 4], [3, 8, 7])]
    quantized = quantize.static_int8(model, ids)
    assert [v.dtype for v in quantized.main.inputs] == ["INT32"]
    assert quantize.report(model, quantized, ids).outputs[0].snr_db > 30
