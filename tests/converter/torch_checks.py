# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module beside what it is converted to, in this runtime and in LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import converter
import runtime

torch = pytest.importorskip("torch", reason="torch is not installed")


class Function(torch.nn.Module):
    """A module of a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def floats(*shape: int) -> Any:
    """The same standard normal numbers in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def whole(*shape: int, low: int = -9, high: int = 9, kind: Any = torch.int64) -> Any:
    """The same integers from `low` to below `high` in every run."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(7)).to(kind)


def check(module: Any, *inputs: Any, tolerance: float = 1e-4, **options: Any) -> converter.ir.Model:
    """Convert, run here and in LiteRT, compare every output with the module's own."""
    module = module if isinstance(module, torch.nn.Module) else Function(module)
    module = module.eval()
    model = converter.from_torch(module, inputs, **options)
    converter.optimize(model)
    compare(model, module, *inputs, tolerance=tolerance, **options.get("example_kwargs", {}))
    return model


def compare(
    model: converter.ir.Model, module: Any, *inputs: Any, tolerance: float = 1e-4, **kwargs: Any
) -> None:
    """Every output of a converted `model` on these inputs beside the module's."""
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(module(*inputs, **kwargs))
    wanted = [as_array(want) for want in wanted if want is not None]
    (signature,) = model.signatures
    given = [x for x in torch.utils._pytree.tree_leaves((inputs, kwargs)) if torch.is_tensor(x)]
    feeds = {name: as_array(x) for name, x in zip(signature.inputs, given, strict=True)}
    for run in engines(converter.write_tflite(model)):
        found = run(**feeds)
        for name, want in zip(signature.outputs, wanted, strict=True):
            assert found[name].shape == want.shape
            assert found[name].dtype == want.dtype
            assert_near(found[name], want, tolerance)


def assert_near(found: np.ndarray, want: np.ndarray, tolerance: float = 1e-4) -> None:
    """Finite elements within `tolerance` of the largest magnitude, the others the same."""
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(found, want)
        return
    finite = np.isfinite(want)
    np.testing.assert_array_equal(found[~finite], want[~finite])
    scale = float(np.abs(want[finite]).max(initial=0)) or 1.0
    error = np.abs(found[finite].astype(np.float64) - want[finite]).max(initial=0)
    assert error <= tolerance * scale


def engines(content: bytes) -> Iterator[Any]:
    """The signature's runner here and in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    for kind in (runtime.Interpreter, Interpreter):
        yield kind(model_content=content).get_signature_runner()


def as_array(x: Any) -> np.ndarray:
    """What a tensor or number is at the model's border."""
    if not torch.is_tensor(x):
        return np.asarray(x, np.float32 if isinstance(x, float) else None)
    return (x.to(torch.float32) if x.dtype == torch.bfloat16 else x).detach().numpy()


def ops(model: converter.ir.Model) -> list[str]:
    return [node.op for graph in model.graphs for node in graph.nodes]
