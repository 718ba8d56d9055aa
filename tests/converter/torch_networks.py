# SPDX-License-Identifier: Apache-2.0
"""Networks of the kinds that people train, with random weights."""

from __future__ import annotations

from torch_checks import torch

nn = torch.nn
F = nn.functional


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


class Inverted(nn.Module):
    """Expands, convolves each channel, squeezes and excites, projects; MobileNetV3's block."""

    def __init__(self, before, wide, after, stride, activation, excites):
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), activation()
        )
        self.depth = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            activation(),
        )
        self.gate = None
        if excites:
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(wide, 8, 1),
                nn.ReLU(),
                nn.Conv2d(8, wide, 1),
                nn.Hardsigmoid(),
            )
        self.project = nn.Sequential(nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after))
        self.adds = before == after and stride == 1

    def forward(self, x):
        y = self.depth(self.expand(x))
        if self.gate is not None:
            y = y * self.gate(y)
        y = self.project(y)
        return x + y if self.adds else y


class MobileNetV3(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
            Inverted(16, 32, 16, 1, nn.ReLU, False),
            Inverted(16, 48, 24, 2, nn.ReLU6, True),
            Inverted(24, 72, 24, 1, nn.Hardswish, True),
            nn.Conv2d(24, 64, 1),
            nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Linear(64, 32),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(32, 10),
        )


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


class Recurrent(nn.Module):
    """Classifies sequences of symbols by the last hidden states of both directions."""

    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.layers = kind(12, 16, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 5)

    def forward(self, symbols):
        every, last = self.layers(self.embedding(symbols))
        hidden = last[0] if isinstance(last, tuple) else last
        return self.head(torch.cat([hidden[-2], hidden[-1]], 1)), every


def twice(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(2, after),
        nn.LeakyReLU(0.1),
    )


class UNet(nn.Module):
    """Down twice and up again: once by a transposed convolution, once by bilinear upsampling."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = twice(3, 8), twice(8, 16), twice(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.fourth, self.fifth = twice(32, 16), twice(24, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        a = self.first(image)
        b = self.second(F.max_pool2d(a, 2))
        c = self.third(F.max_pool2d(b, 2))
        y = self.fourth(torch.cat([self.up(c), b], 1))
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.fifth(torch.cat([y, a], 1))).softmax(1)


class EncoderLayer(nn.Module):
    """Attention and a feed-forward network, each followed by a normalization, as in BERT."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

    def forward(self, x, mask):
        batch, length, width = x.shape
        q, k, v = (
            layer(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = q / (width // self.heads) ** 0.5 @ k.transpose(2, 3)
        hidden = (mask == 0).view(batch, 1, 1, length).expand_as(scores)
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = self.first(x + self.joined(context))
        return self.second(x + self.outer(F.gelu(self.inner(x))))


class Encoder(nn.Module):
    """DistilBERT's encoder; its own size is the default."""

    def __init__(self, layers=6, width=768, heads=12, words=30522, longest=512):
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        self.places = nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1]).unsqueeze(0)
        x = self.norm(self.words(input_ids) + self.places(places))
        for layer in self.layers:
            x = layer(x, attention_mask)
        return {"last_hidden_state": x, "pooled": x[:, 0].tanh()}
