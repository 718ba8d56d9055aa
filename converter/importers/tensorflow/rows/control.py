# SPDX-License-Identifier: Apache-2.0
"""Rows for loops, branches, calls, and for arrays and lists of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.no_form import NoForm
from converter.importers.tensorflow import lists, loops
from converter.importers.tensorflow.context import Context, Rows, device_type
from converter.importers.tensorflow.lists import Listed
from converter.importers.tensorflow.loops import ArrayHandle

# -- functions --------------------------------------------------------------------------------


def _called(c: Context, b: Builder, function: Any, values: list[Any]) -> list[Any]:
    """The results of a function in `b`."""
    _, arguments, results = c.graph.open_function(function.name)
    if len(arguments) != len(values):
        raise NoForm(f"gives {len(values)} arguments to '{function.name}': the file is damaged")
    inner = c.graph.inside(b)
    inner.values.update(zip(arguments, values, strict=True))
    found: list[Any] = inner.convert(results)
    return found


def _while(c: Context) -> list[Any]:
    test, body = c.attr("cond"), c.attr("body")

    def condition(b: Builder, values: list[Any]) -> ir.Value:
        return _called(c, b, test, values)[0]

    def step(b: Builder, values: list[Any]) -> list[Any]:
        return _called(c, b, body, values)

    states = [c.any_input(i) for i in range(c.n_inputs)]
    return loops.loop(c.b, states, condition, step, c.graph.obstacles)


def _if(c: Context) -> list[Any]:
    values = [c.any_input(i) for i in range(1, c.n_inputs)]

    def of(function: Any) -> Any:
        return lambda b: _called(c, b, function, [loops.captured(b, v) for v in values])

    return loops.branch(c.b, c.input(0), of(c.attr("then_branch")), of(c.attr("else_branch")))


def _case(c: Context) -> list[Any]:
    values = [c.any_input(i) for i in range(1, c.n_inputs)]

    def of(function: Any) -> Any:
        return lambda b: _called(c, b, function, [loops.captured(b, v) for v in values])

    found: list[Any] = loops.choice(c.b, c.input(0), [of(f) for f in c.attr("branches")])
    return found


def _call(c: Context) -> list[Any]:
    return _called(c, c.b, c.attr("f"), [c.any_input(i) for i in range(c.n_inputs)])


# -- TensorFlow 1 -----------------------------------------------------------------------------


def _exit(c: Context) -> Any:
    """The whole loop; the other Exits find their values made."""
    frame = loops.frame_of(c.op)
    graph = c.graph

    def inside(b: Builder, values: list[Any]) -> Any:
        inner = graph.inside(b)
        for merge, switch, value in zip(frame.merges, frame.switches, values, strict=True):
            inner.values[merge.outputs[0]] = value
            inner.values[switch.outputs[1]] = value
        return inner

    def condition(b: Builder, values: list[Any]) -> ir.Value:
        (found,) = inside(b, values).convert([frame.condition])
        return found

    def step(b: Builder, values: list[Any]) -> list[Any]:
        return inside(b, values).convert(frame.nexts)

    starts = [graph.value(t) for t in frame.starts]
    last = loops.loop(c.b, starts, condition, step, graph.obstacles)
    by_switch = dict(zip(frame.switches, last, strict=True))
    for op in c.op.graph.get_operations():
        if op.type == "Exit" and op is not c.op and op.inputs[0].op in by_switch:
            graph.bind(op.outputs[0], by_switch[op.inputs[0].op])
    return by_switch[c.op.inputs[0].op]


def _merge(c: Context) -> list[Any]:
    case = loops.parted(c.op)
    if case is not None:
        number, switches = case
    else:
        predicate, switches, (otherwise, then) = loops.sides(c.op)

    def of(tensor: Any) -> Any:
        def made(b: Builder) -> list[Any]:
            inner = c.graph.inside(b)
            for switch in switches:
                value = loops.captured(b, c.graph.value(switch.inputs[0]))
                inner.values.update(dict.fromkeys(switch.outputs, value))
            return inner.convert([tensor])

        return made

    if case is not None:
        branches = [of(t) for t in sorted(c.op.inputs, key=lambda t: _side(t, switches))]
        (value,) = loops.choice(c.b, c.graph.value(number), branches)
    else:
        (value,) = loops.branch(c.b, c.graph.value(predicate), of(then), of(otherwise))
    return [value, None]


def _side(tensor: Any, switches: list[Any]) -> int:
    """Which of a Case's branches makes a tensor."""
    guarded = loops.switches_behind(tensor)
    return next((side for switch, side in guarded.items() if switch in switches), len(guarded))


def _pass(c: Context) -> Any:
    return c.any_input(0)


def _passed(c: Context) -> list[Any]:
    return [c.any_input(i) for i in range(c.n_inputs)]


# -- lists ------------------------------------------------------------------------------------


def _element_type(c: Context) -> str:
    return device_type(c.attr("element_dtype"))


def _reserve(c: Context) -> Listed:
    """Of a size that writes keep to, except where it is 0."""
    known = c.b.known(c.input(1))
    grows = known is not None and int(known.reshape(())) == 0
    return lists.reserve(c.b, c.ints(1), _element_type(c), grows)


def _empty(c: Context) -> Listed:
    return lists.reserve(c.b, c.b.constant(0, "length", np.int32), _element_type(c), True)


def _push(c: Context) -> Any:
    items = c.any_input(0)
    return lists.write(c.b, items, lists.count(c.b, items), c.input(1))


def _pop(c: Context) -> list[Any]:
    items = c.any_input(0)
    if isinstance(items, Listed):
        return list(items.without_last(c.b))
    length = lists.count(c.b, items)
    last = c.b.emit("SUB", [length, c.b.constant(1, "one", np.int32)])
    return [basic.slice_axis(c.b, items, 0, 0, -1), lists.read(c.b, items, last)]


def _get(c: Context) -> ir.Value:
    return lists.read(c.b, c.any_input(0), c.input(1))


def _set(c: Context) -> Any:
    return lists.write(c.b, c.any_input(0), c.input(1), c.input(2))


def _stack(c: Context) -> ir.Value:
    return lists.stacked(c.b, c.any_input(0))


def _gather(c: Context) -> ir.Value:
    return lists.gathered(c.b, c.any_input(0), c.input(1))


def _length(c: Context) -> ir.Value:
    return lists.count(c.b, c.any_input(0))


# -- arrays of TensorFlow 1: [resource, flow] ---------------------------------------------------


def _array(c: Context) -> list[Any]:
    grows = bool(c.attr("dynamic_size"))
    dtype = device_type(c.attr("dtype"))
    return [ArrayHandle(dtype), lists.reserve(c.b, c.ints(0), dtype, grows)]


def _array_write(c: Context) -> Any:
    return lists.write(c.b, c.any_input(3), c.input(1), c.input(2))


def _array_read(c: Context) -> ir.Value:
    return lists.read(c.b, c.any_input(2), c.input(1))


def _array_scatter(c: Context) -> ir.Value:
    values = c.input(2)
    if not lists.covers(c.b, c.input(1), values):
        raise NoForm("scatters to places that are not 0, 1, 2...: unstack in order")
    return values


def _array_gather(c: Context) -> ir.Value:
    return lists.gathered(c.b, c.any_input(2), c.input(1))


def _array_size(c: Context) -> ir.Value:
    return lists.count(c.b, c.any_input(1))


def _array_concat(c: Context) -> list[Any]:
    """The elements joined along their first axis, and how long each is."""
    whole = lists.stacked(c.b, c.any_input(1))
    count, size, *rest = c.b.fixed_dims(whole, "its array")
    lengths = c.b.constant(np.full(count, size), "lengths", np.int64)
    return [basic.reshape(c.b, whole, [count * size, *rest]), lengths]


ROWS: Rows = {
    **dict.fromkeys(("Enter", "RefEnter", "Switch", "_SwitchN"), _pass),
    **dict.fromkeys(("Case", "StatelessCase"), _case),
    **dict.fromkeys(("If", "StatelessIf"), _if),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), _call),
    **dict.fromkeys(("While", "StatelessWhile"), _while),
    "EmptyTensorList": _empty,
    "Exit": _exit,
    "IdentityN": _passed,
    "Merge": _merge,
    "TensorArrayConcatV3": _array_concat,
    "TensorArrayGatherV3": _array_gather,
    "TensorArrayReadV3": _array_read,
    "TensorArrayScatterV3": _array_scatter,
    "TensorArraySizeV3": _array_size,
    "TensorArrayV3": _array,
    "TensorArrayWriteV3": _array_write,
    "TensorListFromTensor": _pass,
    "TensorListGather": _gather,
    "TensorListGetItem": _get,
    "TensorListLength": _length,
    "TensorListPopBack": _pop,
    "TensorListPushBack": _push,
    "TensorListReserve": _reserve,
    "TensorListSetItem": _set,
    "TensorListStack": _stack,
}
