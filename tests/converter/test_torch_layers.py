# SPDX-License-Identifier: Apache-2.0
"""Layers of PyTorch networks, one at a time: every row, in its forms."""

from __future__ import annotations

import pytest
from torch_checks import check, floats, ops, torch

F = torch.nn.functional
nn = torch.nn
X, V = floats(2, 3, 8, 8), floats(4, 6)
LINE, BOX = floats(2, 4, 12), floats(1, 2, 6, 6, 6)
CONVOLUTIONS = {
    "conv1d": (nn.Conv1d(4, 6, 3, 2, 1), LINE),
    "conv1d groups": (nn.Conv1d(4, 8, 3, dilation=2, groups=2), LINE),
    "conv1d same": (nn.Conv1d(4, 6, 4, padding="same"), LINE),
    "conv2d": (nn.Conv2d(3, 6, (3, 2), (2, 1), (1, 0)), X),
    "conv2d circular": (nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), X),
    "conv2d depthwise": (nn.Conv2d(3, 6, 3, groups=3), X),
    "conv2d dilated": (nn.Conv2d(3, 6, 3, dilation=2, bias=False), X),
    "conv2d groups": (nn.Conv2d(6, 9, 3, groups=3), floats(1, 6, 5, 5)),
    "conv2d one image": (nn.Conv2d(3, 6, 3), X[0]),
    "conv2d reflect": (nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), X),
    "conv3d": (nn.Conv3d(2, 3, 3, 2, 1), BOX),
    "conv3d in groups": (nn.Conv3d(2, 6, (3, 2, 3), (2, 1, 1), (2, 1, 0), (2, 1, 1), 2), BOX),
    "conv3d of each channel": (nn.Conv3d(2, 2, 3, 1, 1, groups=2, bias=False), BOX),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), LINE),
    "conv_transpose1d groups": (nn.ConvTranspose1d(4, 6, 3, 2, groups=2), LINE),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 5, 2, 2), X),
    "conv_transpose2d dilated": (nn.ConvTranspose2d(3, 5, 3, 2, 2, dilation=2), X),
    "conv_transpose2d depthwise": (nn.ConvTranspose2d(3, 3, 3, 2, 1, 1, groups=3), X),
    "conv_transpose2d padded": (nn.ConvTranspose2d(3, 5, 3, (2, 3), 1, (1, 2), bias=False), X),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 3, 2), BOX),
}

POOLING = {
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d(5), LINE),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d((4, 2)), X),
    "adaptive_avg_pool2d uneven": (nn.AdaptiveAvgPool2d((3, None)), X),
    "adaptive_avg_pool2d larger": (nn.AdaptiveAvgPool2d(10), X),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d((2, 3, 1)), BOX),
    "adaptive_max_pool1d": (nn.AdaptiveMaxPool1d(4), LINE),
    "adaptive_max_pool2d": (nn.AdaptiveMaxPool2d((4, 3)), X),
    "avg_pool1d": (nn.AvgPool1d(3, 2, 1), LINE),
    "avg_pool2d": (nn.AvgPool2d(3, 2, 1), X),
    "avg_pool2d ceil": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), floats(1, 3, 8, 7)),
    "avg_pool2d of a window beyond": (nn.AvgPool2d(5000, ceil_mode=True), X),
    "avg_pool2d of a window beyond, padded": (nn.AvgPool2d(19, 3, 9, ceil_mode=True), X),
    "max_pool2d of a window beyond": (nn.MaxPool2d(5000, ceil_mode=True), X),
    "avg_pool2d divisor": (nn.AvgPool2d(2, divisor_override=3), X),
    "avg_pool2d without padding": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), X),
    "avg_pool3d": (nn.AvgPool3d(2), BOX),
    "lp_pool2d": (nn.LPPool2d(2, 2), X),
    "max_pool1d": (nn.MaxPool1d(3, 2, 1), LINE),
    "max_pool2d": (nn.MaxPool2d(3, 2, 1), X),
    "max_pool2d ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), X),
    "max_pool2d dilated": (nn.MaxPool2d(2, 1, 0, 2), X),
    "max_pool2d places": (nn.MaxPool2d(2, return_indices=True), X),
    "max_pool2d one image": (nn.MaxPool2d(2), X[0]),
    "max_pool3d": (nn.MaxPool3d(2), BOX),
    "max_unpool2d": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), X),
}

SAME = {"align_corners": True}
RESIZING = {
    "affine_grid": (lambda t: F.affine_grid(t, [2, 1, 4, 5]), floats(2, 2, 3)),
    "grid_sample": (lambda x, g: F.grid_sample(x, g, align_corners=False), X, floats(2, 4, 5, 2)),
    "grid_sample nearest": (
        lambda x, g: F.grid_sample(x, g, "nearest", "border", True),
        X,
        floats(2, 4, 5, 2),
    ),
    "area": (lambda x: F.interpolate(x, size=4, mode="area"), X),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), X),
    "bicubic aligned": (lambda x: F.interpolate(x, (5, 11), mode="bicubic", **SAME), X),
    "bicubic smooth": (lambda x: F.interpolate(x, (5, 3), mode="bicubic", antialias=True), X),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), X),
    "bilinear aligned": (lambda x: F.interpolate(x, (5, 11), mode="bilinear", **SAME), X),
    "bilinear factors": (lambda x: F.interpolate(x, scale_factor=(1.3, 0.7), mode="bilinear"), X),
    "bilinear one": (lambda x: F.interpolate(x, (1, 1), mode="bilinear", **SAME), X),
    "bilinear sizes": (lambda x: F.interpolate(x, (5, 11), mode="bilinear"), X),
    "bilinear smooth": (lambda x: F.interpolate(x, (5, 3), mode="bilinear", antialias=True), X),
    "linear": (lambda x: F.interpolate(x, scale_factor=2, mode="linear"), LINE),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), X),
    "nearest exact": (lambda x: F.interpolate(x, (5, 11), mode="nearest-exact"), X),
    "nearest factors": (lambda x: F.interpolate(x, scale_factor=(1.3, 0.7)), X),
    "nearest line": (lambda x: F.interpolate(x, 7), LINE),
    "nearest box": (lambda x: F.interpolate(x, scale_factor=2), BOX),
    "nearest sizes": (lambda x: F.interpolate(x, (5, 11)), X),
    "trilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), BOX),
    "upsample": (nn.UpsamplingBilinear2d(scale_factor=2), X),
}

NORMALIZATIONS = {
    "batch_norm": (nn.BatchNorm2d(3), X),
    "batch_norm of the batch": (nn.BatchNorm2d(3, track_running_stats=False), X),
    "batch_norm1d": (nn.BatchNorm1d(6, affine=False), V),
    "group_norm": (nn.GroupNorm(2, 4), LINE),
    "instance_norm": (nn.InstanceNorm2d(3, affine=True), X),
    "instance_norm tracked": (nn.InstanceNorm1d(4, track_running_stats=True), LINE),
    "layer_norm": (nn.LayerNorm((8, 8)), X),
    "layer_norm plain": (nn.LayerNorm(6, elementwise_affine=False), V),
    "local_response_norm": (nn.LocalResponseNorm(3), X),
    "rms_norm": (nn.RMSNorm(6), V),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), V),
}

HEADS = floats(2, 4, 5, 6)
ATTENTION = {
    "causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), HEADS),
    "fewer heads": (
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, 2:], enable_gqa=True),
        HEADS,
    ),
    "mask": (lambda x, m: F.scaled_dot_product_attention(x, x, x, m, scale=0.3), HEADS,
             torch.eye(5) + 0.1),
    "mask of truth": (lambda x, m: F.scaled_dot_product_attention(x, x, x, m), HEADS,
                      torch.eye(5) + torch.ones(5, 1).flip(0) > 0),
    "three axes": (lambda x: F.scaled_dot_product_attention(x, x, x), HEADS[0]),
    "multihead": (nn.MultiheadAttention(6, 2), HEADS[0], HEADS[0], HEADS[0]),
    "transformer decoder": (
        nn.TransformerDecoderLayer(6, 2, 8, batch_first=True), HEADS[0], HEADS[0]),
}  # fmt: skip

SEQUENCE, STATE = floats(5, 2, 4), floats(1, 2, 6)
RECURRENT = {
    "gru": (nn.GRU(4, 6), SEQUENCE),
    "gru cell": (nn.GRUCell(4, 6), SEQUENCE[0]),
    "gru of two layers": (nn.GRU(4, 6, 2, bidirectional=True, batch_first=True), SEQUENCE),
    "gru without bias": (nn.GRU(4, 6, bias=False), SEQUENCE, floats(1, 2, 6)),
    "gru of one sequence": (nn.GRU(4, 6), SEQUENCE[:, 0]),
    "lstm": (nn.LSTM(4, 6), SEQUENCE),
    "lstm cell": (nn.LSTMCell(4, 6), SEQUENCE[0]),
    "lstm of two layers": (nn.LSTM(4, 6, 2, bidirectional=True, batch_first=True), SEQUENCE),
    "lstm long": (nn.LSTM(4, 6), floats(50, 1, 4)),
    "lstm that projects": (nn.LSTM(4, 6, 2, proj_size=3, bidirectional=True), SEQUENCE),
    "lstm that projects without bias": (nn.LSTM(4, 6, bias=False, proj_size=2), SEQUENCE),
    "lstm with states": (nn.LSTM(4, 6, bias=False), SEQUENCE, (STATE, STATE * 2)),
    "rnn": (nn.RNN(4, 6, 2, bidirectional=True), SEQUENCE),
    "rnn relu": (nn.RNN(4, 6, nonlinearity="relu"), SEQUENCE),
}  # fmt: skip

CASES = {
    **CONVOLUTIONS,
    **POOLING,
    **RESIZING,
    **NORMALIZATIONS,
    **ATTENTION,
    **RECURRENT,
}


@pytest.mark.parametrize("name", CASES)
def test_layer(name):
    module, *inputs = CASES[name]
    check(module, *inputs)


@pytest.mark.parametrize("name", [n for n in RECURRENT if "gru" not in n and "cell" not in n])
def test_recurrent_layers_are_one_op_each(name):
    module, *inputs = RECURRENT[name]
    found = [node.op for node in check(module, *inputs).main.nodes]
    kind = "RNN" if isinstance(module, nn.RNN) else "LSTM"
    layers = module.num_layers * (2 if module.bidirectional else 1)
    assert found.count(f"UNIDIRECTIONAL_SEQUENCE_{kind}") == layers
    assert not {"LOGISTIC", "TANH", "WHILE"} & set(found)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_group_norm_needs_no_layout_of_its_own(groups):
    convolutions = (nn.Conv2d(3, 6, 3), nn.GroupNorm(groups, 6), nn.SiLU(), nn.Conv2d(6, 4, 3))
    model = check(nn.Sequential(*convolutions), X)
    assert ops(model).count("TRANSPOSE") == 2  # of the input and of the output


def test_group_norm_of_dynamic_batch_and_sizes():
    dims = [torch.export.Dim(name, min=2, max=64) for name in ("n", "h", "w")]
    shapes = ({0: dims[0], 2: dims[1], 3: dims[2]},)
    check(nn.GroupNorm(3, 6), floats(2, 6, 5, 7), dynamic_shapes=shapes)
