# SPDX-License-Identifier: Apache-2.0
"""Ops that are defined by other ops: ONNX's own definitions and the functions of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import onnx
from onnx import defs, helper

from converter import ir
from converter.importers.no_form import NoForm

if TYPE_CHECKING:
    from converter.importers.onnx.graph import GraphImport

_DEEPEST = 16  # functions in functions
_MOST_CALLS = 10_000  # of functions in one model
_ELEMENTS = {
    "FLOAT32": onnx.TensorProto.FLOAT, "INT64": onnx.TensorProto.INT64,
    "INT32": onnx.TensorProto.INT32, "INT16": onnx.TensorProto.INT16,
    "INT8": onnx.TensorProto.INT8, "UINT8": onnx.TensorProto.UINT8,
    "UINT16": onnx.TensorProto.UINT16, "UINT32": onnx.TensorProto.UINT32,
    "UINT64": onnx.TensorProto.UINT64, "BOOL": onnx.TensorProto.BOOL,
    "STRING": onnx.TensorProto.STRING,
}  # fmt: skip


def check(node: onnx.NodeProto, domain: str, opset: int) -> None:
    """NoForm where a node of an op that ONNX knows lacks inputs or attributes, or has ones of
    another type.
    """
    try:
        schema: Any = defs.get_schema(node.op_type, opset, domain)
    except defs.SchemaError:
        return
    given = {a.name: a for a in node.attribute}
    for name, known in schema.attributes.items():
        if name not in given:
            if known.required:
                raise NoForm(f"lacks its attribute '{name}': the file is damaged")
            continue
        found, wanted = given[name].type, int(known.type.value)
        if found != wanted and not given[name].ref_attr_name:
            kinds = onnx.AttributeProto.AttributeType
            raise NoForm(
                f"has the attribute '{name}' as {kinds.Name(found)}, not {kinds.Name(wanted)}: the"
                " file is damaged"
            )
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise NoForm(
            f"has {len(node.input)} inputs, but its op takes {schema.min_input} to"
            f" {schema.max_input} in opset {opset}: the file is damaged"
        )


def definition(
    node: onnx.NodeProto,
    domain: str,
    opset: int,
    value_of: Callable[[str], ir.Value],
    narrow: Mapping[ir.Value, int],
) -> onnx.FunctionProto | None:
    """How ONNX defines this op by others at this opset; None where it does not."""
    try:
        schema: Any = defs.get_schema(node.op_type, opset, domain)
    except defs.SchemaError:
        return None
    if schema.has_function:
        return schema.function_body
    if not schema.has_context_dependent_function:
        return None
    types = []
    for name in node.input:
        if not name:
            types.append(b"")
            continue
        value = value_of(name)
        element = narrow.get(value) or _ELEMENTS.get(value.dtype, onnx.TensorProto.FLOAT)
        dims = [None if d < 0 else d for d in value.shape_signature or value.shape]
        types.append(helper.make_tensor_type_proto(element, dims).SerializeToString())
    body = schema.get_context_dependent_function(node.SerializeToString(), types)
    return onnx.FunctionProto.FromString(body) if body else None


def expand(graph: GraphImport, node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
    """Convert the function's nodes in place of `node`."""
    if graph.prefix.count("/") >= _DEEPEST:
        raise NoForm(f"is defined by functions more than {_DEEPEST} deep: inline them first")
    if next(graph.calls) > _MOST_CALLS:
        raise NoForm(f"is a call of a function after {_MOST_CALLS} others: export fewer")
    inner = graph.inside(graph.builder, graph.builder.scope + "/")
    inner.outer = None  # functions see their inputs, not the graph around them
    inner.obstacles = graph.obstacles
    inner.opsets = {**graph.opsets, **{o.domain: o.version for o in function.opset_import}}
    absent = set()
    for i, formal in enumerate(function.input):
        actual = node.input[i] if i < len(node.input) else ""
        held = graph.held_array(actual) if actual else None
        if not actual:
            absent.add(formal)
        elif held is not None:
            inner.held[formal] = held
        else:
            inner.values[formal] = graph.value(actual)
    given = {a.name: a for a in function.attribute_proto}
    given |= _defaults(node, graph.opsets.get("" if node.domain == "ai.onnx" else node.domain, 0))
    given |= {a.name: a for a in node.attribute}
    count = len(graph.obstacles)
    inner.convert([_settled(n, given, absent) for n in function.node])
    if len(graph.obstacles) > count:
        graph.lost |= set(node.output)
        return
    for formal, actual in zip(function.output, node.output, strict=False):
        if not actual:
            continue
        if formal in inner.held:
            graph.held[actual] = inner.held[formal]
        else:
            graph.bind(actual, inner.value(formal))


def _defaults(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """The attributes that ONNX's schema of the op gives a value of its own."""
    try:
        schema: Any = defs.get_schema(node.op_type, opset, node.domain)
    except defs.SchemaError:
        return {}
    values = {name: a.default_value for name, a in schema.attributes.items()}
    return {name: v for name, v in values.items() if v.type != onnx.AttributeProto.UNDEFINED}


def _settled(node: onnx.NodeProto, given: dict[str, Any], absent: set[str]) -> onnx.NodeProto:
    """`node` of a function's body with the caller's attributes and without absent inputs."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for i, name in enumerate(copy.input):
        if name in absent:
            copy.input[i] = ""
    kept = []
    for attribute in copy.attribute:
        if not attribute.ref_attr_name:
            kept.append(attribute)
        elif attribute.ref_attr_name in given:
            actual = onnx.AttributeProto()
            actual.CopyFrom(given[attribute.ref_attr_name])
            actual.name = attribute.name
            kept.append(actual)
    del copy.attribute[:]
    copy.attribute.extend(kept)
    return copy
