# SPDX-License-Identifier: Apache-2.0
"""Buffers that change when a module runs are variables of the model, here and in LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from torch_checks import as_array, assert_near, ops, torch

import converter
import runtime

nn = torch.nn
BOTH = pytest.mark.parametrize("engine", [runtime.Interpreter, LiteRT])


class Counter(nn.Module):
    """Counts its calls and sums its inputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("total", torch.full((3,), 10.0))

    def forward(self, x):
        self.calls += 1
        self.total.add_(x)
        return self.total / 2, self.calls


class Ring(nn.Module):
    """Attends to the last four inputs, which lie in a ring."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ring", torch.zeros(4, 6))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        self.ring[self.place] = self.inner(x)
        self.place.copy_((self.place + 1) % 4)
        scores = torch.softmax(self.ring @ x[0], 0)
        return scores @ self.ring


class Streaming(nn.Module):
    """A causal convolution that keeps the end of what it has heard."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.register_buffer("heard", torch.zeros(1, 2, 2))
        self.register_buffer("hidden", torch.zeros(1, 1, 5))

    def forward(self, x):
        x = torch.cat([self.heard, x], 2)
        self.heard.copy_(x[:, :, -2:])
        y, hidden = self.gru(self.conv(x).transpose(1, 2))
        self.hidden = hidden + 0
        return y


class Nested(nn.Module):
    """State in a module of a module, and a buffer that another name shares."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Counter(), Counter()

    def forward(self, x):
        return self.second(self.first(x)[0])[0]


class Kalman(nn.Module):
    """A filter of four numbers, two of which are measured."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.eye(2, 4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("spread", torch.eye(4))

    def forward(self, z):
        s = self.seen @ self.spread @ self.seen.T + 0.1 * torch.eye(2)
        gain = self.spread @ self.seen.T @ torch.linalg.inv(s)
        self.mean.copy_(self.mean + gain @ (z - self.seen @ self.mean))
        self.spread.copy_((torch.eye(4) - gain @ self.seen) @ self.spread)
        return self.mean.clone()


class Cache:
    """A plain object that holds tensors, as the caches of language models do."""

    def __init__(self):
        self.keys = torch.zeros(4, 3)
        self.count = torch.zeros((), dtype=torch.int64)


class WithCache(nn.Module):
    """Its buffers are the tensors of an object that writes them."""

    def __init__(self):
        super().__init__()
        self.cache = Cache()
        self.register_buffer("keys", self.cache.keys, persistent=False)
        self.register_buffer("count", self.cache.count)

    def forward(self, x):
        self.cache.keys.index_copy_(0, self.cache.count[None] % 4, x)
        self.cache.count.add_(1)
        return self.keys.sum(0), self.cache.keys * 2


class Attributes(nn.Module):
    """Keeps tensors that are no buffers: one is written, one assigned, one stays."""

    def __init__(self):
        super().__init__()
        self.total, self.last, self.gain = torch.zeros(3), torch.zeros(3), torch.ones(3) * 2

    def forward(self, x):
        self.total.add_(x)
        self.last = self.last * 0.5 + x
        return self.total * self.gain, self.last


def converted(module: nn.Module, *inputs: object) -> converter.ir.Model:
    model = converter.from_torch(module, inputs)
    converter.optimize(model)
    return model


def follow(engine, module: nn.Module, *calls: tuple[object, ...]) -> None:
    """Every call's outputs beside the module's, which keeps its own state."""
    model = converted(module, *calls[0])
    names = list(model.signatures[0].outputs)
    run = engine(model_content=converter.write_tflite(model)).get_signature_runner()
    for inputs in calls:
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(module(*inputs))
        feeds = zip(model.signatures[0].inputs, map(as_array, inputs), strict=True)
        found = run(**dict(feeds))
        for name, want in zip(names, wanted, strict=True):
            assert_near(found[name], as_array(want))


@BOTH
def test_a_counter_counts(engine):
    x = torch.tensor([1.0, 2.0, 3.0])
    follow(engine, Counter(), (x,), (x * 2,), (x,))


@BOTH
def test_state_of_inner_modules(engine):
    x = torch.tensor([1.0, 2.0, 3.0])
    follow(engine, Nested(), (x,), (x * 2,), (x,))


@BOTH
def test_buffers_that_an_object_writes(engine):
    torch.manual_seed(0)
    follow(engine, WithCache(), *((torch.randn(1, 3),) for _ in range(6)))


@BOTH
def test_tensors_that_are_plain_attributes(engine):
    x = torch.tensor([1.0, 2.0, 3.0])
    follow(engine, Attributes(), (x,), (x * 2,), (x,))


def test_plain_attributes_are_as_before():
    module = Attributes()
    total = module.total
    converted(module, torch.ones(3))
    assert module.total is total and not list(module.buffers()) and not module.total.any()


@BOTH
def test_a_ring_of_inputs(engine):
    torch.manual_seed(0)
    follow(engine, Ring(), *((torch.randn(1, 6),) for _ in range(6)))


@BOTH
def test_a_streaming_layer_remembers(engine):
    torch.manual_seed(0)
    follow(engine, Streaming(), *((torch.randn(1, 2, 5),) for _ in range(4)))


@BOTH
def test_a_kalman_filter(engine):
    torch.manual_seed(0)
    follow(engine, Kalman(), *((torch.randn(2),) for _ in range(3)))


def test_state_begins_with_the_module_s_values_in_every_interpreter():
    model = converted(Counter(), torch.zeros(3))
    content = converter.write_tflite(model)
    x = np.float32([1, 2, 3])
    for _ in range(2):
        run = runtime.Interpreter(model_content=content).get_signature_runner()
        np.testing.assert_array_equal(run(x=x)["output"], (x + 10) / 2)
        np.testing.assert_array_equal(run(x=x)["output"], (2 * x + 10) / 2)


def test_a_buffer_that_does_not_change_is_a_constant():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("offset", torch.ones(3))

        def forward(self, x):
            return x + self.offset

    assert "READ_VARIABLE" not in ops(converted(Still(), torch.zeros(3)))
