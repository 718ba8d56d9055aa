# SPDX-License-Identifier: Apache-2.0
"""torch.cond and torch.while_loop become IF and WHILE."""

from __future__ import annotations

import numpy as np
import pytest

import converter
import runtime

torch = pytest.importorskip("torch", reason="torch is not installed")


class Branching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda v: v @ self.weight, lambda v: v - 1, (x,))


class Doubling(torch.nn.Module):
    """Doubles x until its largest element is above 100; counts the steps."""

    def forward(self, x):
        steps = torch.tensor(0)
        return torch.while_loop(lambda n, v: v.max() < 100, lambda n, v: (n + 1, v * 2), (steps, x))


def engines(model):
    from ai_edge_litert.interpreter import Interpreter

    content = converter.write_tflite(model)
    for kind in (runtime.Interpreter, Interpreter):
        yield kind(model_content=content).get_signature_runner()


def test_a_branch():
    module, x = Branching().eval(), torch.ones(2, 3)
    model = converter.from_torch(module, (x,))
    converter.optimize(model)
    assert "IF" in [node.op for node in model.main.nodes]
    for run in engines(model):
        for given in (x, -x):
            with torch.no_grad():
                want = module(given).numpy()
            np.testing.assert_allclose(run(x=given.numpy())["output"], want, rtol=1e-5, atol=1e-6)


def test_a_loop_whose_end_is_computed():
    model = converter.from_torch(Doubling().eval(), (torch.ones(2),))
    converter.optimize(model)
    assert "WHILE" in [node.op for node in model.main.nodes]
    for run in engines(model):
        found = run(x=np.array([1, 3], np.float32))
        assert found["output"] == 6
        np.testing.assert_array_equal(found["output_1"], [64, 192])
