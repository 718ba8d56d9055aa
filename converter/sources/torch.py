# SPDX-License-Identifier: Apache-2.0
"""Modules and programs of PyTorch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.sources.base import Arrays, Source, cannot_run


class TorchSource(Source):
    """A PyTorch module with the inputs to export it on, an exported program, or its .pt2 file.

    `example_inputs` are the arguments of forward, nested as it takes them; a program has its own.
    """

    def __init__(self, module: Any, example_inputs: Sequence[Any] = (), **options: Any) -> None:
        self.module, self.examples, self.options = module, tuple(example_inputs), options
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.engine = f"PyTorch {importlib.metadata.version('torch')}"
        self.names: tuple[list[str], list[str]] = ([], [])

    def convert(self) -> ir.Model:
        from converter.importers.torch.model import from_torch, load_program

        if isinstance(self.module, str | os.PathLike):
            self.module = load_program(self.module)
        model = from_torch(self.module, self.examples, **self.options)
        (signature,) = model.signatures
        self.names = (list(signature.inputs), list(signature.outputs))
        return self._noted(model)

    def shapes(self) -> dict[str, Sequence[int | None]]:
        leaves, _ = self._arguments()
        shapes = (tuple(x.shape) for x in leaves if hasattr(x, "shape"))
        return dict(zip(self.names[0], shapes, strict=True))

    def _arguments(self) -> tuple[list[Any], Any]:
        """The leaves of (arguments, keyword arguments), and their structure."""
        import torch

        own = getattr(self.module, "example_inputs", None)  # of an exported program
        args, kwargs = own or (self.examples, dict(self.options.get("example_kwargs") or {}))
        return torch.utils._pytree.tree_flatten((tuple(args), kwargs))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        import torch

        module = self.module if hasattr(self.module, "eval") else self.module.module()
        with contextlib.suppress(AttributeError, NotImplementedError):  # of exported modules
            module.eval()
        leaves, structure = self._arguments()
        given = iter(torch.from_numpy(np.array(feeds[name])) for name in self.names[0])
        leaves = [next(given) if isinstance(x, torch.Tensor) else x for x in leaves]
        args, kwargs = torch.utils._pytree.tree_unflatten(leaves, structure)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
        except Exception as error:  # whatever the module raises
            raise cannot_run(self.engine, error) from error
        tensors = [x for x in found if x is not None]
        return {n: _array(x) for n, x in zip(self.names[1], tensors, strict=True)}


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)
