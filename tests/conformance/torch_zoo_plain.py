# SPDX-License-Identifier: Apache-2.0
"""Networks in plain PyTorch, as people write them: sound, images out of noise, graphs, state."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch_zoo_text import Make


class ConvTasNet(nn.Module):
    """Separates voices: an encoder, masks out of dilated convolutions, a decoder."""

    def __init__(self, width: int = 16, voices: int = 2) -> None:
        super().__init__()
        self.voices = voices
        self.encoder = nn.Conv1d(1, width, 16, 8, bias=False)
        self.norm = nn.GroupNorm(1, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, 32, 1), nn.PReLU(), nn.GroupNorm(1, 32),
                nn.Conv1d(32, 32, 3, padding=2**i, dilation=2**i, groups=32), nn.PReLU(32),
                nn.GroupNorm(1, 32), nn.Conv1d(32, width, 1),
            )
            for i in range(3)
        )  # fmt: skip
        self.masks = nn.Conv1d(width, width * voices, 1)
        self.decoder = nn.ConvTranspose1d(width, 1, 16, 8, bias=False)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        x = self.encoder(wave.unsqueeze(1))
        y = self.norm(x)
        for block in self.blocks:
            y = y + block(y)
        masks = torch.sigmoid(self.masks(y)).view(x.size(0), self.voices, x.size(1), -1)
        spread = (x.unsqueeze(1) * masks).flatten(0, 1)
        return self.decoder(spread).view(x.size(0), self.voices, -1)


class DeepSpeech(nn.Module):
    """Convolutions over a spectrogram, recurrent layers in both directions, letters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, (11, 5), (2, 2), (5, 2)), nn.BatchNorm2d(8), nn.Hardtanh(0, 20)
        )
        self.recurrent = nn.GRU(8 * 8, 16, 2, batch_first=True, bidirectional=True)
        self.letters = nn.Linear(32, 29)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        x = self.conv(spectrogram)
        x = x.permute(0, 3, 1, 2).flatten(2)
        return self.letters(self.recurrent(x)[0]).log_softmax(-1)


class Crnn(nn.Module):
    """Text in images: convolutions, an LSTM along the width, what CTC reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.MaxPool2d((2, 2), (2, 1), (0, 1)), nn.Conv2d(16, 16, (8, 2)), nn.ReLU(),
        )  # fmt: skip
        self.recurrent = nn.LSTM(16, 12, 2, bidirectional=True)
        self.letters = nn.Linear(24, 37)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image).squeeze(2).permute(2, 0, 1)
        return F.log_softmax(self.letters(self.recurrent(x)[0]), 2)


class Mel(nn.Module):
    """A log-mel spectrogram by torch.stft."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))
        self.register_buffer("bank", torch.rand(33, 10))

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        found = torch.stft(wave, 64, 16, window=self.window, return_complex=True)
        return torch.log(found.abs().pow(2).transpose(1, 2) @ self.bank + 1e-5)


class WaveNet(nn.Module):
    """Gated causal convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 8, 1)
        self.gates = nn.ModuleList(nn.Conv1d(8, 16, 2, dilation=2**i) for i in range(4))
        self.out = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(4))
        self.last = nn.Conv1d(8, 5, 1)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        x, skipped = self.first(wave), torch.zeros(())
        for i, (gate, out) in enumerate(zip(self.gates, self.out, strict=True)):
            y, z = gate(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = out(torch.tanh(y) * torch.sigmoid(z))
            skipped, x = skipped + y, x + y
        return self.last(F.relu(skipped))


class Generator(nn.Module):
    """Images out of noise by transposed convolutions (DCGAN)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
            nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.layers(noise)


class StyleBlock(nn.Module):
    """Weights that a style scales, then normalized (StyleGAN 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, 3, 3))
        self.style = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        weight = self.weight[None] * (self.style(w) + 1)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        x = x.reshape(1, -1, *x.shape[2:])
        y = F.conv2d(x, weight.reshape(-1, 4, 3, 3), padding=1, groups=batch)
        return F.leaky_relu(y.reshape(batch, 6, *y.shape[2:]), 0.2)


class CycleGenerator(nn.Module):
    """Reflection padding, instance normalization, residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 8, 7), nn.InstanceNorm2d(8), nn.ReLU(True),
            nn.Conv2d(8, 16, 3, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.ReLU(True),
            nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.InstanceNorm2d(8), nn.ReLU(True),
            nn.ReflectionPad2d(3), nn.Conv2d(8, 3, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class DiffusionBlock(nn.Module):
    """A residual block with the time's embedding, and attention over the pixels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, 32), nn.SiLU(), nn.Linear(32, width * 2))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        half = x.shape[1] // 2
        angles = t[:, None].float() * torch.exp(
            -math.log(10000) * torch.arange(half, device=x.device) / half
        )
        scale, shift = self.time(torch.cat([angles.sin(), angles.cos()], -1)).chunk(2, -1)
        y = self.convs[0](F.silu(self.norms[0](x)))
        y = self.norms[1](y) * (1 + scale[..., None, None]) + shift[..., None, None]
        x = x + self.convs[1](F.silu(y))
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norms[2](x)).reshape(b, 3, 4, c // 4, h * w).unbind(1)
        y = F.scaled_dot_product_attention(q.mT, k.mT, v.mT).mT.reshape(b, c, h, w)
        return F.interpolate(x + self.out(y), scale_factor=2.0, mode="nearest")


class GraphNet(nn.Module):
    """Messages along edges, summed by index_add, the largest by scatter_reduce."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(16, 8), nn.Linear(24, 8)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        sender, receiver = edges
        message = F.relu(self.message(torch.cat([nodes[sender], nodes[receiver]], -1)))
        total = torch.zeros_like(nodes).index_add(0, receiver, message)
        places = receiver[:, None].expand_as(message)
        largest = torch.zeros_like(nodes).scatter_reduce(0, places, message, "amax")
        degree = torch.zeros(nodes.shape[0]).scatter_add(0, receiver, torch.ones(edges.shape[1]))
        mean = total / degree.clamp(min=1)[:, None]
        return self.update(torch.cat([nodes, mean, largest], -1))


class GraphAttention(nn.Module):
    """Softmax over the edges into each node."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.weigh = nn.Linear(8, 8, bias=False), nn.Parameter(torch.randn(16))

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x, (sender, receiver) = self.project(nodes), edges
        score = F.leaky_relu(torch.cat([x[sender], x[receiver]], -1) @ self.weigh, 0.2)
        most = torch.full((nodes.shape[0],), -1e30).scatter_reduce(0, receiver, score, "amax")
        weight = (score - most[receiver]).exp()
        total = torch.zeros(nodes.shape[0]).index_add(0, receiver, weight)
        weight = weight / (total[receiver] + 1e-16)
        found = torch.zeros_like(x)
        return F.elu(found.index_add_(0, receiver, x[sender] * weight[:, None]))


class Kalman(nn.Module):
    """A filter of four numbers whose state lives from call to call."""

    def __init__(self) -> None:
        super().__init__()
        step = torch.eye(4)
        step[0, 2] = step[1, 3] = 0.1
        self.register_buffer("step", step)
        self.register_buffer("seen", torch.eye(2, 4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("spread", torch.eye(4))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        mean = self.step @ self.mean
        spread = self.step @ self.spread @ self.step.T + 0.01 * torch.eye(4)
        s = self.seen @ spread @ self.seen.T + 0.1 * torch.eye(2)
        gain = spread @ self.seen.T @ torch.linalg.inv(s)
        self.mean.copy_(mean + gain @ (z - self.seen @ mean))
        self.spread.copy_((torch.eye(4) - gain @ self.seen) @ spread)
        return self.mean.clone()


class CachedDecoder(nn.Module):
    """One attention layer that writes keys and values of each step into its buffers."""

    def __init__(self, length: int = 8, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embed, self.qkv = nn.Embedding(30, width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, 30)
        shape = (1, heads, length, width // heads)
        self.register_buffer("keys", torch.zeros(shape))
        self.register_buffer("values", torch.zeros(shape))

    def forward(self, token: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.embed(token)).view(1, 1, 3, self.heads, -1).unbind(2)
        self.keys.index_copy_(2, at, k.transpose(1, 2))
        self.values[:, :, at] = v.transpose(1, 2)
        mask = torch.arange(self.keys.shape[2]) <= at[:, None]
        y = F.scaled_dot_product_attention(q.transpose(1, 2), self.keys, self.values, mask)
        return self.out(y.transpose(1, 2).flatten(2))


class PointNet(nn.Module):
    """Points in any order: shared layers, the largest of each feature, the nearest neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU())
        self.edge = nn.Conv2d(32, 16, 1)
        self.last = nn.Linear(16, 5)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        x = self.first(points)
        apart = torch.cdist(points.mT, points.mT)
        near = apart.topk(4, dim=-1, largest=False)[1]
        b, c, n = x.shape
        picked = torch.gather(
            x.unsqueeze(2).expand(b, c, n, n), 3, near[:, None].expand(b, c, n, 4)
        )
        pairs = torch.cat([picked - x.unsqueeze(3), x.unsqueeze(3).expand_as(picked)], 1)
        return self.last(self.edge(pairs).amax((2, 3)))


class NeuralField(nn.Module):
    """Coordinates, sines of many frequencies, a few layers with a skip (NeRF)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(39, 32), nn.Linear(32, 32), nn.Linear(71, 32)])
        self.out = nn.Linear(32, 4)

    def forward(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bands = 2.0 ** torch.arange(6)
        angles = (at[..., None, :] * bands[:, None]).flatten(-2)
        code = torch.cat([at, angles.sin(), angles.cos()], -1)
        x = code
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(torch.cat([x, code], -1) if i == 2 else x))
        rgb, density = self.out(x).split([3, 1], -1)
        alpha = 1 - torch.exp(-F.softplus(density[..., 0]) * 0.1)
        left = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], -1), -1)
        weights = alpha * left[:, :-1]
        return (weights[..., None] * rgb.sigmoid()).sum(1), weights


class VariationalAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ELU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.SELU(), nn.Linear(32, 64), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        mean, logarithm = self.encoder(x).chunk(2, dim=1)
        divergence = -0.5 * (1 + logarithm - mean.pow(2) - logarithm.exp()).sum(1)
        return {"image": self.decoder(mean).view_as(x), "divergence": divergence}


class Transformer(nn.Module):
    """nn.Transformer with masks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Transformer(16, 4, 2, 2, 32, batch_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        later = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        empty = source.abs().sum(-1) == 0
        return self.inner(source, target, tgt_mask=later, src_key_padding_mask=empty)


class Recommender(nn.Module):
    """Wide and deep: bags of words, crossed features."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.user = nn.EmbeddingBag(50, 8, mode="mean"), nn.Embedding(20, 8)
        self.cross = nn.Bilinear(8, 8, 4)
        self.deep = nn.Sequential(
            nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1)
        )

    def forward(self, user: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        u, w = self.user(user), self.bag(words)
        return self.deep(torch.cat([u, w, self.cross(u, w)], 1)).sigmoid().squeeze(1)


class Yolo(nn.Module):
    """A head of anchors: boxes decoded from a grid, the best classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 6, 2, 2), nn.SiLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.SiLU()
        )
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.head = nn.Conv2d(64, 3 * 9, 1)
        self.register_buffer("anchors", torch.tensor([[10, 13], [16, 30], [33, 23]]).float())

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.body(image)
        y = self.pool(x)
        z = self.pool(y)
        b, _, h, w = x.shape
        p = self.head(torch.cat([x, y, z, self.pool(z)], 1)).view(b, 3, 9, h, w)
        p = p.permute(0, 1, 3, 4, 2).contiguous()
        ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((xs, ys), 2).expand(1, 3, h, w, 2) - 0.5
        at, size, rest = p.sigmoid().split((2, 2, 5), 4)
        at = (at * 2 + grid) * 4
        size = (size * 2) ** 2 * self.anchors.view(1, 3, 1, 1, 2)
        boxes = torch.cat((at, size, rest), 4).view(b, -1, 9)
        return boxes, (boxes[..., 4:5] * boxes[..., 5:]).max(-1)[1]


def networks() -> dict[str, Make]:
    """By name, with the inputs to export each on."""
    edges = torch.randint(0, 6, (2, 10))
    rows: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "Conv-TasNet": (ConvTasNet, (torch.randn(1, 400),)),
        "CRNN with CTC": (Crnn, (torch.randn(1, 1, 32, 48),)),
        "CycleGAN generator": (CycleGenerator, (torch.randn(1, 3, 16, 16),)),
        "DCGAN generator": (Generator, (torch.randn(1, 16, 1, 1),)),
        "DeepSpeech": (DeepSpeech, (torch.randn(1, 1, 16, 20),)),
        "PointNet with neighbours": (PointNet, (torch.randn(1, 3, 12),)),
        "StyleGAN 2 block": (StyleBlock, (torch.randn(2, 4, 8, 8), torch.randn(2, 8))),
        "WaveNet": (WaveNet, (torch.randn(1, 1, 64),)),
        "YOLO head": (Yolo, (torch.randn(1, 3, 32, 32),)),
        "cached decoder": (CachedDecoder, (torch.tensor([[5]]), torch.tensor([0]))),
        "diffusion U-Net block": (DiffusionBlock, (torch.randn(1, 16, 8, 8), torch.tensor([7]))),
        "graph attention": (GraphAttention, (torch.randn(6, 8), edges)),
        "graph network": (GraphNet, (torch.randn(6, 8), edges)),
        "log-mel spectrogram": (Mel, (torch.randn(1, 400),)),
        "neural radiance field": (NeuralField, (torch.randn(2, 8, 3),)),
        "nn.Transformer": (Transformer, (torch.randn(2, 7, 16), torch.randn(2, 5, 16))),
        "recommender": (Recommender, (torch.tensor([3, 4]), torch.randint(0, 50, (2, 6)))),
        "streaming Kalman filter": (Kalman, (torch.randn(2),)),
        "variational autoencoder": (VariationalAutoencoder, (torch.randn(2, 1, 8, 8),)),
    }
    return {name: (lambda k=kind, x=x: (k(), x, {})) for name, (kind, x) in rows.items()}
