# SPDX-License-Identifier: Apache-2.0
"""Converts the ATen calls of an exported program into a builder's graph.

What depends on parameters and constants alone is computed by PyTorch itself. Sizes that depend on
dynamic dimensions are values of rank 0, whose samples the builder knows.
"""

from __future__ import annotations

import operator
from typing import Any

import torch

from converter import ir
from converter.importers.builder import Builder, show_dims
from converter.importers.forms.complexes import Complex
from converter.importers.no_form import NoForm
from converter.importers.torch import control, sizes, types
from converter.importers.torch.context import Context, Rows
from converter.importers.torch.rows import complexes

_MOST_MADE = 1 << 26  # elements of a constant that comes from nothing: zeros, ranges
_NO_FORM = "has no form in TFLite: rewrite the module without it, or export the part before it"
_NOTHING = ("_assert", "sym_constrain_range", "_guards_fn")


class GraphImport:
    """One exported graph on its way into `builder`. `held` are constants by the node's name."""

    def __init__(self, builder: Builder, rows: Rows) -> None:
        self.builder = builder
        self.rows = rows
        self.results: dict[str, Any] = {}  # by node: a value, a list of values, a number
        self.held: dict[str, Any] = {}  # by node: torch tensors
        self.lost: set[str] = set()
        self.obstacles: list[str] = []

    def convert(self, nodes: list[torch.fx.Node]) -> None:
        """Convert the calls in order. What cannot be goes to `obstacles`, one sentence each."""
        for node in nodes:
            if node.op not in ("call_function", "get_attr"):
                continue
            self.builder.scope = _place(node)
            try:
                self._convert(node)
            except _Lost:
                self.lost.add(node.name)
            except Exception as error:
                self.lost.add(node.name)
                why = str(error)
                if not isinstance(error, NoForm):  # a row that did not foresee this use
                    first = (why.strip().splitlines() or [""])[0]
                    why = (
                        f"is used in a way that the importer does not know"
                        f" ({type(error).__name__}: {first}): rewrite it, or report this"
                    )
                self.obstacles.append(
                    f"{_name(node)} at '{self.builder.scope}' ({self._seen(node)}) {why}"
                )

    def resolved(self, item: Any) -> Any:
        """An argument with values in the place of nodes."""
        if isinstance(item, torch.fx.Node):
            return self.result(item)
        if isinstance(item, list | tuple):
            return [self.resolved(i) for i in item]
        return item

    def result(self, node: torch.fx.Node) -> Any:
        """What stands for a node; constants become values when first asked for."""
        if node.name in self.lost:
            raise _Lost
        if node.name not in self.results:
            if node.name not in self.held:
                raise NoForm(f"reads '{node.name}', which has no value on a device")
            self.results[node.name] = self._constant(node.name, self.held[node.name])
        return self.results[node.name]

    def _constant(self, name: str, held: Any) -> Any:
        if isinstance(held, torch.Tensor) and held.is_complex():
            real, imaginary = torch.view_as_real(held.resolve_conj()).unbind(-1)
            return Complex(
                self._constant(f"{name}_real", real), self._constant(f"{name}_imaginary", imaginary)
            )
        if isinstance(held, torch.Tensor):
            return ir.Value.constant(self.builder.unique(name), types.array_of(held))
        if isinstance(held, list | tuple):
            return [self._constant(f"{name}_{i}", item) for i, item in enumerate(held)]
        return held

    # -- one call -----------------------------------------------------------------------------

    def _convert(self, node: torch.fx.Node) -> None:
        name = _name(node)
        if any(name.startswith(word) for word in _NOTHING):
            return
        if node.op == "get_attr":
            body = getattr(node.graph.owning_module, str(node.target))
            kind = "results" if isinstance(body, torch.fx.GraphModule) else "held"
            getattr(self, kind)[node.name] = body
            return
        if self._fold(node):
            return
        if node.target is operator.getitem:
            source, index = (self.resolved(a) for a in node.args)
            self.results[node.name] = source[index]
        elif name in control.ROWS and not hasattr(node.target, "_schema"):
            self.results[node.name] = control.ROWS[name](self, node)
        elif node.target in sizes.ROWS:
            given = [self.resolved(a) for a in node.args]
            self.results[node.name] = sizes.compute(self.builder, node.target, given)
        else:
            self.results[node.name] = found = self._by_row(node, name)
            if isinstance(found, ir.Value):
                self._rename(node, found)

    def _by_row(self, node: torch.fx.Node, name: str) -> Any:
        if not hasattr(node.target, "_schema"):
            raise NoForm(_NO_FORM)
        c = Context(self, node, self._arguments(node))
        row = complexes.row_for(name, self.rows.get(name), c)
        if row is None:
            raise NoForm(_NO_FORM)
        return row(c)

    def _arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        target: Any = node.target
        schema = target._schema
        found: dict[str, Any] = {}
        for i, argument in enumerate(schema.arguments):
            if i < len(node.args):
                given: Any = node.args[i]
            elif argument.name in node.kwargs:
                given = node.kwargs[argument.name]
            else:
                given = argument.default_value if argument.has_default_value() else None
            found[argument.name] = self.resolved(given)
        return found

    def _fold(self, node: torch.fx.Node) -> bool:
        """Compute a call on constants with PyTorch; False where an input is not constant."""
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            return False
        inputs = node.all_input_nodes
        target: Any = node.target
        made = node.meta.get("val")
        if not all(n.name in self.held for n in inputs):
            return False
        if not inputs and not (isinstance(made, torch.Tensor) and made.numel() <= _MOST_MADE):
            return False

        def actual(n: torch.fx.Node) -> Any:
            return self.held[n.name]

        args = torch.fx.node.map_arg(node.args, actual)
        kwargs = torch.fx.node.map_arg(node.kwargs, actual)
        with torch.no_grad():
            self.held[node.name] = target(*args, **kwargs)
        return True

    def _rename(self, node: torch.fx.Node, value: ir.Value) -> None:
        if value.producer is not None and value.name.startswith(self.builder.scope + "/"):
            value.name = self.builder.unique(node.name)

    def _seen(self, node: torch.fx.Node) -> str:
        """The shapes of the call's tensors, for messages."""
        shapes = []
        for source in node.all_input_nodes:
            try:
                value = self.result(source)
            except (_Lost, NoForm):
                value = None
            known = isinstance(value, ir.Value)
            shapes.append(show_dims(self.builder.dims(value)) if known else "?")
        return ", ".join(shapes)


class _Lost(Exception):
    """An input was lost to an obstacle that is in the list already."""


def _name(node: torch.fx.Node) -> str:
    """The op without its overload: "convolution", "add"."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).partition("::")[2]
    return str(getattr(node.target, "__name__", node.target))


def _place(node: torch.fx.Node) -> str:
    """The module that makes the call, and the call: what a reader finds in the source."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return f"{paths[-1]}/{node.name}" if paths else node.name
