# SPDX-License-Identifier: Apache-2.0
"""The loops of graphs of TensorFlow 1: cycles of Enter, Merge, Switch and NextIteration."""

from __future__ import annotations

from typing import Any, NamedTuple

_ENTERS = ("Enter", "RefEnter")
_SWITCHES = ("Switch", "RefSwitch")


class Frame(NamedTuple):
    """A loop: for every state where it enters, its Merge, Switch and what the next step gets;
    `enters` are all ways in, those of constants too.
    """

    condition: Any
    merges: list[Any]
    switches: list[Any]
    starts: list[Any]
    nexts: list[Any]
    enters: list[Any]


def frame_of(op: Any) -> Frame:
    """The loop that `op`, an Exit, leaves; ValueError where the graph is none that TensorFlow
    makes.
    """
    switch = op.inputs[0].op
    if switch.type not in _SWITCHES or switch.inputs[1].op.type != "LoopCond":
        raise ValueError("leaves a loop that has no LoopCond: the file is damaged")
    last = switch.inputs[1]
    merges, switches, starts, nexts = [], [], [], []
    operations = op.graph.get_operations()
    for other in operations:
        if other.type not in _SWITCHES or other.inputs[1] is not last:
            continue
        merge = other.inputs[0].op
        kinds = {t.op.type.removeprefix("Ref"): t.op for t in merge.inputs}
        if "Merge" not in merge.type or set(kinds) != {"Enter", "NextIteration"}:
            raise ValueError("is of a loop whose states do not merge: the file is damaged")
        merges.append(merge)
        switches.append(other)
        starts.append(kinds["Enter"].inputs[0])
        nexts.append(kinds["NextIteration"].inputs[0])
    if switch not in switches:
        raise ValueError("leaves a loop that is damaged")
    name = next(t.op for t in merges[0].inputs if t.op.type in _ENTERS).get_attr("frame_name")
    enters = [o for o in operations if o.type in _ENTERS and o.get_attr("frame_name") == name]
    return Frame(last.op.inputs[0], merges, switches, starts, nexts, enters)
