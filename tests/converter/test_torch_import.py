# SPDX-License-Identifier: Apache-2.0
"""PyTorch modules become models that compute the same, here and in LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from torch_checks import check, compare, ops, torch
from torch_networks import (
    Encoder,
    MobileNet,
    MobileNetV3,
    Recurrent,
    ResNet,
    UNet,
    VisionTransformer,
)

import converter
import runtime

nn = torch.nn


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_resnet():
    model = check(ResNet(), torch.randn(1, 3, 32, 32))
    assert ops(model).count("TRANSPOSE") == 1 and "MUL" not in ops(model)


def test_mobilenet():
    model = check(MobileNet(), torch.randn(1, 3, 16, 16))
    assert "HARD_SWISH" in ops(model) and "DEPTHWISE_CONV_2D" in ops(model)


def test_vision_transformer():
    check(VisionTransformer(), torch.randn(1, 3, 16, 16))


def test_mobilenet_v3():
    model = check(MobileNetV3(), torch.randn(2, 3, 32, 32))
    assert ops(model).count("TRANSPOSE") == 1 and ops(model).count("HARD_SWISH") >= 4


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_networks(kind):
    check(Recurrent(kind), torch.randint(0, 50, (2, 9)))


def test_u_net():
    model = check(UNet(), torch.randn(1, 3, 16, 16))
    assert {"TRANSPOSE_CONV", "RESIZE_BILINEAR", "CONCATENATION"} <= set(ops(model))


def encoded(batch, length, words):
    ids = torch.randint(1, words, (batch, length))
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, length // 2 :] = 0
    return ids, mask


def test_a_small_encoder():
    check(Encoder(2, 32, 4, 100, 16), *encoded(2, 10, 100))


def test_an_encoder_of_dynamic_batch_and_length():
    module = Encoder(2, 32, 4, 100, 16).eval()
    batch, length = torch.export.Dim("batch", min=1, max=8), torch.export.Dim("n", min=2, max=16)
    sizes = ({0: batch, 1: length},) * 2
    model = converter.from_torch(module, encoded(2, 10, 100), dynamic_shapes=sizes)
    converter.optimize(model)
    for shape in ((1, 5), (3, 16)):
        compare(model, module, *encoded(*shape, 100))


@pytest.mark.slow
def test_an_encoder_of_distilbert_s_size():
    check(Encoder(), *encoded(1, 64, 30522))


def test_a_dynamic_batch_stays_dynamic():
    batch = torch.export.Dim("batch", min=1, max=64)
    module = MobileNet().eval()
    model = converter.from_torch(module, (torch.randn(2, 3, 16, 16),), dynamic_shapes=({0: batch},))
    converter.optimize(model)
    assert model.main.inputs[0].shape_signature == (-1, 3, 16, 16)
    run = runtime.Interpreter(model_content=converter.write_tflite(model)).get_signature_runner()
    for size in (1, 5):
        x = torch.randn(size, 3, 16, 16)
        with torch.no_grad():
            want = module(x).numpy()
        np.testing.assert_allclose(run(x=x.numpy())["output"], want, rtol=1e-3, atol=1e-5)


def test_names_are_forward_s_and_the_result_s():
    class Named(nn.Module):
        def forward(self, image, scale):
            return {"bright": image * scale, "dark": image - 1}

    model = converter.from_torch(Named(), (torch.ones(2), torch.ones(1)))
    (signature,) = model.signatures
    assert list(signature.inputs) == ["image", "scale"]
    assert list(signature.outputs) == ["bright", "dark"]


def test_every_obstacle_is_listed_with_its_module():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x)[0] + torch.linalg.svdvals(x)[:1]

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Odd()

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(converter.ConversionError) as raised:
        converter.from_torch(Outer(), (torch.randn(3, 3),))
    assert "2 obstacles" in str(raised.value) and "inner/" in str(raised.value)


def test_a_module_that_cannot_be_exported_gets_a_sentence():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(converter.ConversionError, match=r"torch\.export cannot export Branching"):
        converter.from_torch(Branching(), (torch.ones(2),))
