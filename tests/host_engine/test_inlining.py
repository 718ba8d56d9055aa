# SPDX-License-Identifier: Apache-2.0
"""Calls of functions written out into the graph."""

from __future__ import annotations

import numpy as np
import pytest

import host_engine as tf
from host_engine.graphdef.inlining import inline_calls
from host_engine.graphdef.messages import GraphDef
from host_engine.graphdef.text import from_text

# f(a, b) = (b, a - b); g(a, b) = f(f(a, b))
FUNCTIONS = """
function { signature { name: "f"
    input_arg { name: "a" type: DT_FLOAT } input_arg { name: "b" type: DT_FLOAT }
    output_arg { name: "first" type: DT_FLOAT } output_arg { name: "second" type: DT_FLOAT } }
  node_def { name: "less" op: "Sub" input: "a" input: "b" input: "^wait"
    attr { key: "T" value { type: DT_FLOAT } } }
  node_def { name: "wait" op: "NoOp" }
  ret { key: "first" value: "b" } ret { key: "second" value: "less:z:0" } }
function { signature { name: "g"
    input_arg { name: "a" type: DT_FLOAT } input_arg { name: "b" type: DT_FLOAT }
    output_arg { name: "first" type: DT_FLOAT } output_arg { name: "second" type: DT_FLOAT } }
  node_def { name: "two" op: "PartitionedCall" input: "one:output:0" input: "one:output:1" CALL }
  node_def { name: "one" op: "StatefulPartitionedCall" input: "a" input: "b" CALL }
  ret { key: "first" value: "two:output:0" } ret { key: "second" value: "two:output:1" } }
"""
CALL = """
  attr { key: "Tin" value { list { type: DT_FLOAT type: DT_FLOAT } } }
  attr { key: "Tout" value { list { type: DT_FLOAT type: DT_FLOAT } } }
  attr { key: "f" value { func { name: "%s" } } }
"""
PLACEHOLDER = 'node { name: "%s" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }'


def graph(functions: str = FUNCTIONS, called: str = "g") -> GraphDef:
    made = GraphDef()
    call = f'node {{ name: "call" op: "PartitionedCall" input: "x" input: "y" {CALL % called} }}'
    text = f"{PLACEHOLDER % 'x'} {PLACEHOLDER % 'y'} {call}"
    text += ' node { name: "less" op: "Neg" input: "call:1" input: "^call" '
    text += " attr { key: 'T' value { type: DT_FLOAT } } } "
    from_text(f"{text} library {{ {functions.replace('CALL', CALL % 'f')} }}".encode(), made)
    return made


def test_nested_calls_compute_the_same():
    made, tensors = inline_calls(graph(), ["less", "call:0", "call:1"])
    assert not made.library.function
    names = [node.name for node in made.node]
    assert len(set(names)) == len(names) and "call" not in names  # "less" stands three times
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(made, name="")
        full = [t if ":" in t else f"{t}:0" for t in tensors]
        found = session.run(full, {"x:0": np.float32(7), "y:0": np.float32(3)})
    assert found == [1, 4, -1]  # g(7, 3) = f(3, 4) = (4, -1)


def test_what_is_passed_through_is_found():
    functions = FUNCTIONS.replace('value: "two:output:1"', 'value: "a"')
    _, tensors = inline_calls(graph(functions), ["call:0", "call:1"])
    assert tensors[1] == "x"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("f", "h"), "is of no function"),
        (('name: "f" } }', 'name: "g" } }'), "never ends"),
        (('input: "a" input: "b" CALL', 'input: "a" CALL'), "has 1 arguments"),
        (('"less:z:0"', '"less:q:0"'), "names no output"),
        (('"less:z:0"', '"more:z:0"'), "nothing computes it"),
        (('input: "a" input: "b" CALL', 'input: "two:output:0" input: "b" CALL'), "own results"),
    ],
)
def test_damaged_functions_get_a_sentence(change, words):
    old, new = change
    if old == "f":
        damaged = graph(FUNCTIONS, "h")
    else:
        filled = FUNCTIONS.replace("CALL", CALL % "f") if "} }" in old else FUNCTIONS
        assert old in filled
        damaged = graph(filled.replace(old, new))
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        inline_calls(damaged, ["less"])
