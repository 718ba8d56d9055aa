# SPDX-License-Identifier: Apache-2.0
"""Exports a PyTorch module and converts it, ATen call by ATen call."""

from __future__ import annotations

import contextlib
import io
import linecache
import logging
import os
import re
import sys
import traceback
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converter import ir
from converter.errors import ConversionError

if TYPE_CHECKING:
    import torch

# What PyTorch would take apart, and a row knows as a whole.
_KEPT_WHOLE = (
    "aten.lstm.", "aten.gru.", "aten.rnn_", "upsample_", "aten.layer_norm", "aten.group_norm",
    "aten.instance_norm", "aten.gelu", "aten.hardswish", "aten.hardsigmoid", "aten.silu",
    "aten.mish", "aten.elu", "aten.prelu", "aten.softplus", "aten.logsumexp",
    "aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.channel_shuffle",
    "aten.scaled_dot_product_attention", "aten.adaptive_avg_pool", "aten.adaptive_max_pool",
    "aten.linear.", "aten.reflection_pad", "aten.replication_pad", "aten.one_hot",
)  # fmt: skip


def from_torch(
    model: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: Sequence[Any] = (),
    *,
    dynamic_shapes: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
) -> ir.Model:
    """The model that a PyTorch module computes, for inference.

    `model` is a module, which is exported with ``torch.export`` on `example_inputs` (tensors, in
    the order of ``forward``), or a program that was exported. `dynamic_shapes` is torch.export's
    own: other sizes are fixed to those of the examples. The signature ``serving_default`` has the
    names of forward's parameters, and of the results: the keys of a dictionary, or ``output``,
    ``output_1``... Layout and types are the module's. Buffers that change become variables.

    Raises ConversionError, listing every obstacle with its module's name, where the export fails or
    an op has no form in TFLite, and where the package ``torch`` is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ConversionError(
            'modules are converted with the package torch: pip install "rillet[torch]"'
        ) from error
    program: Any = model
    if not isinstance(model, torch.export.ExportedProgram):
        if not isinstance(model, torch.nn.Module):
            raise ConversionError(
                f"from_torch converts a torch.nn.Module or an exported program, not"
                f" {type(model).__name__}: put the function into a module's forward"
            )
        single = isinstance(example_inputs, torch.Tensor)
        args = (example_inputs,) if single else tuple(example_inputs)
        program = _exported(model, args, dict(example_kwargs or {}), dynamic_shapes)
    name = type(model).__name__
    program = _decomposed(program, name)
    from converter.importers.torch.program import ProgramImport

    return ProgramImport(program, name).model()


def load_program(path: str | os.PathLike[str]) -> Any:
    """The program in a .pt2 file of ``torch.export.save``. Raises ConversionError."""
    import torch

    if not zipfile.is_zipfile(path):  # PyTorch would try older forms and speak of each
        raise ConversionError(
            f"{os.fspath(path)} is no .pt2 archive, or is cut off: get the file again, or write it"
            " with torch.export.save"
        )
    try:
        with _quiet():
            return torch.export.load(path)
    except Exception as error:  # whatever PyTorch finds in the archive
        reason = _reason(error).partition(". Please check the warnings above")[0]
        raise ConversionError(
            f"{os.fspath(path)} is no program that PyTorch {torch.__version__} can load:"
            f" {reason}; write it with torch.export.save"
        ) from error


def _exported(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Any) -> Any:
    import torch

    from converter.importers.torch.state import registered

    _know_caches()
    was_training = model.training
    try:
        with _quiet(), torch.no_grad(), registered(model):
            _evaluate(model)
            return torch.export.export(model, args, kwargs, dynamic_shapes=dynamic, strict=False)
    except Exception as error:  # whatever torch.export finds in the module's code
        raise ConversionError(
            f"torch.export cannot export {type(model).__name__}: {_reason(error)}"
        ) from error
    finally:
        with contextlib.suppress(NotImplementedError):
            model.train(was_training)


def _evaluate(model: Any) -> None:
    """Inference, but for modules that torch.export made, which have one mode."""
    with contextlib.suppress(NotImplementedError):
        model.eval()


def _know_caches() -> None:
    """Let torch.export take and give the caches of language models that transformers makes."""
    if "transformers" in sys.modules:
        with contextlib.suppress(ImportError, AttributeError):
            from transformers.integrations import executorch

            executorch.register_dynamic_cache_export_support()


def _decomposed(program: Any, name: str) -> Any:
    """The program in the ops that have rows."""
    import torch

    from converter.importers.torch.state import unite

    unite(program)
    table = torch.export.default_decompositions()
    for op in [op for op in table if any(word in str(op) for word in _KEPT_WHOLE)]:
        table.pop(op)
    signature = program.module_call_graph[0].signature
    specs = signature.in_spec, signature.out_spec
    try:
        with _quiet(), torch.no_grad():
            # The classes at the border, such as caches, are not made anew: some make tensors.
            signature.in_spec, signature.out_spec = (_plain(spec) for spec in specs)
            found = program.run_decompositions(table)
    except Exception as error:  # whatever PyTorch's own rewriting meets
        raise ConversionError(f"PyTorch cannot decompose {name}: {_reason(error)}") from error
    finally:
        signature.in_spec, signature.out_spec = specs
    own = found.module_call_graph[0].signature
    own.in_spec, own.out_spec = specs
    return found


def _plain(spec: Any) -> Any:
    """`spec` with tuples in the place of classes."""
    import torch

    def example(inner: Any) -> Any:
        if inner.is_leaf():
            return 0
        parts = [example(child) for child in inner.children()]
        if inner.type is dict:
            return dict(zip(inner.context, parts, strict=True))
        return parts if inner.type is list else tuple(parts)

    return torch.utils._pytree.tree_flatten(example(spec))[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it PyTorch neither warns nor logs: what it raises is said in one sentence."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _reason(error: Exception) -> str:
    """The sentence of an error of PyTorch's, and what to do where that is known."""
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if len(lines) > 1 and lines[1].strip().startswith("- "):
        reason = f"{reason} {lines[1].strip()[2:]}"
    if "data-dependent" in str(error):
        reason = reason.partition(" (unhinted")[0]
        reason += f"{_where(error)}; write branches on values as torch.where or torch.cond"
    else:
        reason = reason.rstrip(".") + _where(error)
    return reason


def _where(error: Exception) -> str:
    """ ", at net.py:17 in forward: if x.sum() > 0:", where the module's code says it."""
    told = re.search(r'raised this error:\n +File "([^"<]+)", line (\d+), in (\w+)', str(error))
    if told:
        path, line, name = told[1], int(told[2]), told[3]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        seen = [f for f in frames if f.name == "forward" or "/torch/nn/" in f.filename]
        seen = [f for f in seen if "/torch/nn/modules/module.py" not in f.filename]
        if not seen:
            return ""
        path, line, name = seen[-1].filename, seen[-1].lineno or 0, seen[-1].name
    code = linecache.getline(path, line).strip()
    return f", at {os.path.basename(path)}:{line} in {name}" + (f": {code}" if code else "")
