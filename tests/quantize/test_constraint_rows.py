# SPDX-License-Identifier: Apache-2.0
"""Every row of the table of constraints: the op in int8 loads in LiteRT and means what it meant,
and the runtime gives the same integers.

One body, a row or more per op; a row missing here fails the first test. Ops that the runtime has no
kernel for yet are calibrated by LiteRT.
"""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import PLAIN_KERNELS, LiteRT, Net, real, run, samples

import quantize
import quantize.evaluation
import runtime
from quantize.constraints import CONSTRAINTS

IMAGE = (1, 6, 8, 4)


def ints(*values):
    return np.array(values, np.int32)


def normal(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


POOL = {"padding": "SAME", "stride_w": 2, "stride_h": 2, "filter_width": 3, "filter_height": 3}
CONV = {"padding": "SAME", "stride_w": 1, "stride_h": 2}
RELU6_CONV = {**CONV, "fused_activation_function": "RELU6"}
# (op, input shapes, what follows the inputs, options)
ROWS = [
    ("ADD", [IMAGE, IMAGE], [], {"fused_activation_function": "RELU"}),
    ("ADD", [IMAGE], [normal(4)], {}),
    ("ARG_MAX", [IMAGE], [ints(3)], {"output_type": "INT32"}),
    ("ARG_MIN", [IMAGE], [ints(3)], {"output_type": "INT32"}),
    ("AVERAGE_POOL_2D", [IMAGE], [], {**POOL, "fused_activation_function": "RELU"}),
    ("BATCH_TO_SPACE_ND", [(4, 3, 4, 4)], [ints(2, 2), ints([0, 0], [0, 0])], {}),
    ("CONCATENATION", [IMAGE, IMAGE], [normal(1, 6, 8, 2)], {"axis": 3}),
    ("CONV_2D", [IMAGE], [normal(8, 3, 3, 4), normal(8)], CONV),
    ("CONV_2D", [IMAGE], [normal(8, 3, 3, 4) / 4, normal(8)], RELU6_CONV),
    ("CONV_2D", [IMAGE], [normal(8, 3, 3, 2), normal(8)], CONV),
    (
        "DEPTHWISE_CONV_2D",
        [IMAGE],
        [normal(1, 3, 3, 8), normal(8)],
        {**CONV, "stride_h": 1, "depth_multiplier": 2},
    ),
    ("DEPTH_TO_SPACE", [IMAGE], [], {"block_size": 2}),
    ("ELU", [IMAGE], [], {}),
    ("EXPAND_DIMS", [(1, 8)], [ints(1)], {}),
    ("FULLY_CONNECTED", [(3, 16)], [normal(8, 16), normal(8)], {}),
    ("FULLY_CONNECTED", [(1, 5, 16)], [normal(8, 16)], {"keep_num_dims": True}),
    ("GATHER", [IMAGE], [ints(3, 0)], {"axis": 3}),
    ("GELU", [IMAGE], [], {}),
    ("GELU", [IMAGE], [], {"approximate": True}),
    ("HARD_SWISH", [IMAGE], [], {}),
    ("L2_NORMALIZATION", [(2, 16)], [], {}),
    ("LEAKY_RELU", [IMAGE], [], {"alpha": 0.1}),
    ("LOGISTIC", [IMAGE], [], {}),
    ("LOG_SOFTMAX", [(2, 16)], [], {}),
    ("MAX_POOL_2D", [IMAGE], [], POOL),
    ("MAXIMUM", [IMAGE, IMAGE], [], {}),
    ("MINIMUM", [IMAGE], [normal(4)], {}),
    ("MEAN", [IMAGE], [ints(1, 2)], {"keep_dims": True}),
    ("MEAN", [IMAGE], [ints(3)], {}),
    ("MIRROR_PAD", [IMAGE], [ints([0, 0], [1, 1], [1, 1], [0, 0])], {"mode": "REFLECT"}),
    ("MUL", [IMAGE, IMAGE], [], {}),
    ("MUL", [IMAGE], [normal(4)], {}),
    ("PACK", [(2, 8), (2, 8)], [], {"values_count": 2, "axis": 1}),
    ("PAD", [IMAGE], [ints([0, 0], [1, 2], [0, 1], [0, 0])], {}),
    ("PADV2", [IMAGE], [ints([0, 0], [1, 2], [0, 1], [0, 0]), np.float32([-4.0]).reshape(())], {}),
    ("PRELU", [IMAGE], [np.abs(normal(1, 1, 4))], {}),
    ("REDUCE_MAX", [IMAGE], [ints(1, 2)], {}),
    ("REDUCE_MIN", [IMAGE], [ints(3)], {"keep_dims": True}),
    ("RELU", [IMAGE], [], {}),
    ("RELU6", [IMAGE], [], {}),
    ("RELU_0_TO_1", [IMAGE], [], {}),
    ("RELU_N1_TO_1", [IMAGE], [], {}),
    ("RESHAPE", [IMAGE], [ints(1, -1)], {}),
    ("RESIZE_BILINEAR", [IMAGE], [ints(9, 11)], {"half_pixel_centers": True}),
    ("RESIZE_NEAREST_NEIGHBOR", [IMAGE], [ints(9, 11)], {}),
    ("REVERSE_V2", [IMAGE], [ints(2)], {}),
    ("SLICE", [IMAGE], [ints(0, 1, 1, 0), ints(1, 3, -1, 2)], {}),
    ("SOFTMAX", [(2, 16)], [], {"beta": 1.0}),
    ("SPACE_TO_BATCH_ND", [IMAGE], [ints(2, 2), ints([0, 0], [0, 0])], {}),
    ("SPACE_TO_DEPTH", [IMAGE], [], {"block_size": 2}),
    ("SQUEEZE", [IMAGE], [], {"squeeze_dims": [0]}),
    ("STRIDED_SLICE", [IMAGE], [ints(0, 0, 1, 0), ints(1, 6, 8, 4), ints(1, 2, 3, 1)], {}),
    ("SUB", [IMAGE, IMAGE], [], {}),
    ("SUM", [IMAGE], [ints(1, 2)], {}),
    ("TANH", [IMAGE], [], {}),
    ("TILE", [(1, 8)], [ints(2, 3)], {}),
    ("TRANSPOSE", [IMAGE], [ints(0, 3, 1, 2)], {}),
]
# Ops whose data is not their first input, or with several outputs, get a function of their own.


def split(net):
    return net.op("SPLIT", [ints(3).reshape(()), net.input(*IMAGE)], outputs=2, num_splits=2)


def split_v(net):
    args = [net.input(*IMAGE), ints(1, 3), ints(3).reshape(())]
    return net.op("SPLIT_V", args, outputs=2, num_splits=2)


def transpose_conv(net):
    args = [ints(1, 12, 16, 5), normal(5, 3, 3, 4), net.input(*IMAGE), normal(5)]
    return [net.op("TRANSPOSE_CONV", args, padding="SAME", stride_w=2, stride_h=2)]


def unpack(net):
    return net.op("UNPACK", [net.input(2, 3, 4)], outputs=3, num=3, axis=1)


SPECIAL = {
    "SPLIT": split,
    "SPLIT_V": split_v,
    "TRANSPOSE_CONV": transpose_conv,
    "UNPACK": unpack,
}


def build(op, shapes, extra, options):
    net = Net()
    inputs = [net.input(*shape) for shape in shapes]
    dtype = options.get("output_type", "FLOAT32")
    return net.model(net.op(op, [*inputs, *extra], dtype=dtype, **options))


def build_special(op):
    net = Net()
    return net.model(*SPECIAL[op](net))


def test_every_op_of_the_table_has_a_row_here() -> None:
    assert {row[0] for row in ROWS} | set(SPECIAL) == set(CONSTRAINTS)


class Calibrator:
    """LiteRT in the runtime's place."""

    @staticmethod
    def Interpreter(**kwargs):
        return LiteRT(experimental_op_resolver_type=PLAIN_KERNELS, **kwargs)


CASES = [
    pytest.param(lambda row=row: build(*row), id=f"{row[0]}-{i}") for i, row in enumerate(ROWS)
]
CASES += [pytest.param(lambda op=op: build_special(op), id=op) for op in SPECIAL]


@pytest.mark.parametrize("io", ["int8", "float32"])
@pytest.mark.parametrize("make", CASES)
def test_int8_form_runs_and_keeps_the_meaning(make, io: str, monkeypatch) -> None:
    model = make()
    known = model.main.nodes[0].op in runtime.supported_ops()
    if not known:
        monkeypatch.setattr(quantize.evaluation, "runtime", Calibrator)
    calibration = samples(model, 8)
    notes: list[str] = []
    if io == "float32" and CONSTRAINTS[model.main.nodes[0].op].same_scale:
        # Alone between floats it would cost two conversions and win nothing.
        with pytest.raises(quantize.QuantizationError, match="nothing to quantize"):
            quantize.static_int8(model, calibration, io=io)
        return
    quantized = quantize.static_int8(model, calibration, io=io, notes=notes)
    node = model.main.nodes[0]
    twin = next(n for n in quantized.main.nodes if n.op == node.op)
    assert not notes
    assert all(v.dtype != "FLOAT32" for v in [*twin.inputs, *twin.outputs] if v is not None)
    wanted = run(LiteRT, model, calibration[0])
    got = run(LiteRT, quantized, calibration[0])
    for value, out, a, b in zip(twin.outputs, quantized.main.outputs, wanted, got, strict=True):
        assert out.dtype == (io.upper() if value.dtype == "INT8" else "INT32")
        if value.quant is None:
            assert (a == b).mean() > 0.9  # near ties may fall either way
            continue
        # Inputs are off by half a step; a product or sum of them by more.
        bound = 2.5 * float(value.quant.scale[0]) + 0.01 * np.abs(a).max()
        assert np.abs(a - real(b, out)).max() <= bound
    if known:
        differing = 0
        for sample in calibration:
            ours, theirs = (run(k, quantized, sample) for k in (runtime.Interpreter, LiteRT))
            differing += sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))
        assert differing == 0
