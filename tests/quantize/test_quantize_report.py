# SPDX-License-Identifier: Apache-2.0
"""The accuracy report measures what it says and reads as a table."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from quantize_nets import LiteRT, Net, conv_net, real, run, samples

import quantize
from quantize import QuantizationError, accuracy


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_errors_are_those_of_the_outputs(io: str) -> None:
    model = conv_net()
    data = samples(model, 6)
    quantized = quantize.static_int8(model, data, io=io)
    (output,) = quantize.report(model, quantized, data).outputs
    wanted = np.concatenate([run(LiteRT, model, s)[0] for s in data])
    got = np.concatenate(
        [real(run(LiteRT, quantized, s)[0], quantized.main.outputs[0]) for s in data]
    )
    # LiteRT's default path rounds a few values another way than what the report ran on.
    assert output.largest == pytest.approx(np.abs(wanted - got).max(), abs=1.5 / 256)
    snr = 10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum())
    assert output.snr_db == pytest.approx(snr, abs=3)
    assert output.agreement == (wanted.argmax(1) == got.argmax(1)).mean()


def test_layers_come_noisiest_first_and_name_the_culprit() -> None:
    net = Net()
    x = net.input(1, 16)
    fine = net.op("TANH", [x])
    spread = np.ones(16, np.float32)
    spread[0] = 3000.0
    coarse = net.op("MUL", [fine, spread])
    model = net.model(net.op("MUL", [coarse, 1 / spread]))
    data = samples(model, 16)
    report = quantize.report(model, quantize.static_int8(model, data), data)
    assert [layer.snr_db for layer in report.layers] == sorted(e.snr_db for e in report.layers)
    assert report.layers[0].name == "mul_5" and report.layers[0].lost_db > 20
    tanh = next(layer for layer in report.layers if layer.op == "TANH")
    assert tanh.snr_db > 30


def test_a_model_compared_with_itself_has_no_error() -> None:
    model = conv_net()
    report = quantize.report(model, model.copy(), samples(model, 2))
    assert report.samples == 2 and len(report.layers) == len(model.main.nodes)
    assert all(e.snr_db == math.inf for e in [*report.layers, *report.outputs])
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["outputs"][0]["snr_db"] is None


def test_the_table_is_aligned_and_short() -> None:
    model = conv_net()
    report = quantize.report(model, quantize.float16(model), samples(model, 2))
    lines = report.table(layers=3).splitlines()
    assert str(report).splitlines()[0] == lines[0] == "2 samples"
    assert lines[1].split()[0] == "output" and lines[1].endswith("SNR dB  same argmax")
    assert lines[-1] == "(7 more)" and len(lines) == 3 + 1 + 4 + 1
    assert len({line.index("SNR dB") for line in lines if "noisiest" in line}) == 1


def test_models_that_do_not_belong_together() -> None:
    net = Net()
    other = net.model(net.op("TANH", [net.input(1, 3)]))
    with pytest.raises(QuantizationError, match="the models' inputs differ"):
        quantize.report(conv_net(), other, [])
    with pytest.raises(QuantizationError, match="no samples"):
        quantize.report(conv_net(), conv_net(), [])


def test_agreement_needs_two_elements_to_choose_among() -> None:
    noise = accuracy._Noise()
    noise.add(np.ones((3, 1)), np.zeros((3, 1)))
    assert noise.positions == 0
    noise.add(np.eye(2), np.eye(2)[::-1])
    assert (noise.positions, noise.same) == (2, 0)
