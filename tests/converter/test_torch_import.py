# SPDX-License-Identifier: Apache-2.0
"""PyTorch modules become models that compute the same, here and in LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from torch_checks import check, ops, torch

import converter
import runtime

nn = torch.nn


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.last = nn.BatchNorm2d(after)
        self.skip = nn.Conv2d(before, after, 1, stride) if stride != 1 else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.norm(self.first(x)))
        return torch.relu(self.last(self.second(y)) + self.skip(x))


class ResNet(nn.Sequential):
    def __init__(self):
        stem = [nn.Conv2d(3, 16, 7, 2, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        blocks = [Residual(16, 16, 1), Residual(16, 32, 2)]
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(32, 10))


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Hardswish(),
            nn.Conv2d(8, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.Hardswish(),
            nn.Conv2d(32, 16, 1),
        )
        self.classifier = nn.Linear(16, 10)

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.places = nn.Parameter(torch.randn(1, 17, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), y], 1) + self.places
        return self.head(self.encoder(y)[:, 0])


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
