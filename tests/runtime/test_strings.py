# SPDX-License-Identifier: Apache-2.0
"""Tensors of strings: through the interpreter's face, through operators and through subgraphs."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from single_op import Arg, OpModel, Out, const, litert_all, run_all, single_op
from test_control_flow import run as run_with

import runtime
from converter import ir
from runtime import RilletError

AWKWARD = [b"", b"a", b"a\0b", b"\0\0", b"\xff\xfe\x80", "h\u00e9llo".encode(), b"x" * 5000, b" "]


def strings(shape: Any, of: Any = AWKWARD) -> np.ndarray:
    """An array of bytes objects, the ones listed over and over."""
    count = int(np.prod(shape, dtype=int))
    array = np.empty(count, object)
    array[:] = [of[i % len(of)] for i in range(count)]
    return array.reshape(shape)


def text(value: Any, constant: bool = False) -> Arg:
    return Arg(value, const=constant, dtype="STRING")


def constant(name: str, value: Any) -> ir.Value:
    return ir.Value.constant(name, value, dtype="STRING")


def identity(shape: Any = (2, 3), **how: Any) -> bytes:
    """y = reshape(x, the same shape)."""
    sub = models.Sub("main")
    x = sub.input(shape, "STRING", **how)
    middle = sub.op("RESHAPE", [x, np.int32([-1])], ((int(np.prod(shape)),), "STRING"))
    y = sub.op("RESHAPE", [middle, np.int32(shape)], (shape, "STRING"))
    return models.serialize(sub.ends(y))


def ready(content: bytes, **how: Any) -> runtime.Interpreter:
    interpreter = runtime.Interpreter(model_content=content, **how)
    interpreter.allocate_tensors()
    return interpreter


# ---- the interpreter's face ----

FORMS = [
    strings((2, 3)),
    np.array([[b"a", b"bcd", b""], [b"e", b"f", b"gh"]]),
    np.array([["a", "b\u00e4d", ""], ["e", "f", "\U0001f600"]]),
    np.array([["a", b"b", "\u00fc"], [np.bytes_(b"c"), np.str_("d"), ""]], object),
    strings((3, 2)).T,
    strings((4, 6))[::2, ::2],
]


@pytest.mark.parametrize("value", FORMS, ids=["bytes", "S", "U", "mixed", "turned", "strided"])
def test_what_is_set_is_got(value: np.ndarray) -> None:
    (mine,) = run_with(runtime.Interpreter(model_content=identity()), value)
    wanted = [x.encode() if isinstance(x, str) else bytes(x) for x in value.flat]
    assert mine.dtype == object and mine.shape == (2, 3)
    assert list(mine.flat) == wanted and {type(x) for x in mine.flat} == {bytes}
    (peer,) = run_with(LiteRT(model_content=identity()), value)
    assert peer.dtype == object and peer.tolist() == mine.tolist()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((2, 3), np.float32), "Got value of type float32 but expected type STRING"),
        (np.full((2, 3), 7, object), "Got value of type int"),
        (np.array([[b"a", None, b"c"]] * 2, object), "Got value of type NoneType"),
        (np.full((2, 3), bytearray(b"q"), object), "Got value of type"),
        (strings((3, 2)), "Dimension mismatch"),
        (strings((6,)), "Dimension mismatch"),
    ],
)
def test_other_values_are_refused(value: np.ndarray, words: str) -> None:
    mine = ready(identity())
    with pytest.raises(RilletError, match=words):
        mine.set_tensor(0, value)
    peer = LiteRT(model_content=identity())
    peer.allocate_tensors()
    with pytest.raises(ValueError):
        peer.set_tensor(0, value)


def test_details_are_as_litert_gives_them() -> None:
    content = identity()
    mine, peer = ready(content), LiteRT(model_content=content)
    peer.allocate_tensors()
    for side in ("get_input_details", "get_output_details"):
        (a,), (b,) = getattr(mine, side)(), getattr(peer, side)()
        assert a["dtype"] is b["dtype"] is np.bytes_
        assert a["shape"].tolist() == b["shape"].tolist() and a["name"] == b["name"]


def test_lists_keep_zeros_at_their_ends() -> None:
    mine = ready(identity((3,)))
    mine.set_tensor(0, [b"a\0", "b", b"\0"])
    mine.invoke()
    assert mine.get_tensor(mine.get_output_details()[0]["index"]).tolist() == [
        b"a\0",
        b"b",
        b"\0",
    ]
    assert mine([b"q\0", b"", "r"]).tolist() == [b"q\0", b"", b"r"]


def test_inputs_never_set_are_empty() -> None:
    mine = ready(identity())
    assert mine.get_tensor(0).tolist() == [[b""] * 3] * 2
    mine.invoke()
    assert mine.get_tensor(mine.get_output_details()[0]["index"]).tolist() == [[b""] * 3] * 2


def test_no_strings_are_read_that_no_run_has_written() -> None:
    mine = ready(identity())
    out = mine.get_output_details()[0]["index"]
    with pytest.raises(RilletError, match="no invoke has succeeded") as caught:
        mine.get_tensor(out)
    assert caught.value.status == "BAD_STATE"
    mine.invoke()
    assert mine.get_tensor(out).size == 6
    middle = next(d["index"] for d in mine.get_tensor_details() if list(d["shape"]) == [6])
    with pytest.raises(RilletError, match="experimental_preserve_all_tensors"):
        mine.get_tensor(middle)
    mine.resize_tensor_input(0, (2, 3))
    assert mine.get_tensor(out).size == 6  # the same shape: nothing to do
    whole = ready(identity(), experimental_preserve_all_tensors=True)
    whole.set_tensor(0, strings((2, 3)))
    whole.invoke()
    assert whole.get_tensor(middle).tolist() == AWKWARD[:6]


def test_outputs_stay_when_inputs_are_set_anew() -> None:
    mine = ready(identity())
    out = mine.get_output_details()[0]["index"]
    for round_ in range(3):
        value = strings((2, 3), [b"round %d" % round_ * 100])
        mine.set_tensor(0, value)
        mine.invoke()
        for i in range(50):
            mine.set_tensor(0, strings((2, 3), [b"%d" % i * 500]))
        assert mine.get_tensor(out).tolist() == value.tolist()


def test_strings_have_no_view() -> None:
    with pytest.raises(RilletError, match="holds strings: use get_tensor") as caught:
        ready(identity()).tensor(0)()
    assert caught.value.status == "UNSUPPORTED"


def test_constants_cannot_be_set_but_read() -> None:
    sub = models.Sub("main")
    x = sub.input((8,), "STRING")
    held = constant("labels", strings((8,)))
    mine = ready(models.serialize(sub.ends(sub.op("EQUAL", [x, held], ((8,), "BOOL")))))
    index = next(d["index"] for d in mine.get_tensor_details() if d["name"] == "labels")
    assert mine.get_tensor(index).tolist() == AWKWARD
    with pytest.raises(RilletError, match="it is a constant of the model"):
        mine.set_tensor(index, strings((8,)))


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (0, 3), (700, 3)], ids=str)
def test_inputs_are_resized(shape: Any) -> None:
    sub = models.Sub("main")
    x = sub.input((2, 3), "STRING", shape_signature=(-1, 3))
    y = sub.op("EXPAND_DIMS", [x, np.int32(0)], ((1, 2, 3), "STRING", (1, -1, 3)))
    content, value = models.serialize(sub.ends(y)), strings(shape)
    mine = runtime.Interpreter(model_content=content)
    found = mine(value)
    assert found.shape == (1, *shape) and found[0].tolist() == value.tolist()
    assert mine(value[:0]).shape == (1, 0, 3)


def test_signatures_take_strings() -> None:
    sub = models.Sub("main")
    x, y = sub.input((2,), "STRING", shape_signature=(-1,)), sub.input((1,), "STRING")
    z = sub.op("EQUAL", [x, y], ((2,), "BOOL", (-1,)))
    graph = sub.ends(z, x)
    signature = ir.Signature("serve", {"text": 0, "word": 1}, {"same": 0, "echo": 1}, graph=0)
    content = models.serialize(graph, signatures=[signature])
    value, word = strings((9,)), strings((1,), [b"a\0b"])
    mine = runtime.Interpreter(model_content=content).get_signature_runner()(text=value, word=word)
    peer = LiteRT(model_content=content).get_signature_runner()(text=value, word=word)
    for name in ("same", "echo"):
        assert mine[name].tolist() == peer[name].tolist() and mine[name].dtype == peer[name].dtype
    assert np.flatnonzero(mine["same"]).tolist() == [2]


# ---- operators ----


def slices(x: Arg) -> list[OpModel]:
    text_out = Out("STRING")
    return [
        single_op("RESHAPE", [x, const([4, 6])], text_out, new_shape=np.int32([4, 6])),
        single_op("SQUEEZE", [text(np.expand_dims(x.value, 1))], text_out, squeeze_dims=[1]),
        single_op("EXPAND_DIMS", [x, const(-1)], text_out),
        single_op("SLICE", [x, const([0, 1, 2]), const([2, 2, -1])], text_out),
        single_op("SLICE", [x, const([1, 0, 3], "q"), const([1, 3, 1], "q")], text_out),
        single_op("STRIDED_SLICE", [x, const([1, 2, 3]), const([0, 0, 0]), const([-1, -1, -2])],
                  text_out, begin_mask=0, end_mask=0),
        single_op("STRIDED_SLICE", [x, const([0, 0, 0]), const([2, 3, 4]), const([1, 2, 3])],
                  text_out, shrink_axis_mask=1),
        single_op("TILE", [x, const([2, 1, 3])], text_out),
        single_op("TILE", [x, const([1, 0, 2], "q")], text_out),
        single_op("FILL", [const([2, 3]), text(np.array(b"a\0b", object), True)], text_out),
        single_op("GATHER_ND", [x, np.int32([[1, 2], [0, 0]])], text_out),
        single_op("GATHER_ND", [x, np.int64([[1], [1], [0]])], text_out),
        single_op("GATHER_ND", [x, np.int16([[1, 1, 3]])], text_out),
        single_op("GATHER", [text(x.value.reshape(-1)), np.int32([23, 0, 5, 5])], text_out),
        single_op("SHAPE", [x], Out("INT32"), out_type="INT32"),
        single_op("SHAPE", [x], Out("INT64"), out_type="INT64"),
        single_op("RANK", [x], Out("INT32")),
        single_op("EQUAL", [x, text(strings((3, 1)))], Out("BOOL")),
        single_op("NOT_EQUAL", [x, text(strings((4,)), True)], Out("BOOL")),
        single_op("EQUAL", [x, text(strings((2, 3, 4), AWKWARD[::-1]))], Out("BOOL")),
        single_op("NOT_EQUAL", [text(strings((1,)), True), x], Out("BOOL")),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(21))
@pytest.mark.parametrize("is_const", [False, True], ids=["computed", "constant"])
def test_operators_give_what_litert_gives(number: int, is_const: bool) -> None:
    model = slices(text(strings((2, 3, 4)), is_const))[number]
    mine = run_all(model)
    for found, wanted in zip(mine, litert_all(model) if mine[0].size else mine, strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert found.tolist() == wanted.tolist()
    assert [x.tolist() for x in run_all(model, threads=3)] == [x.tolist() for x in mine]


def test_elements_that_litert_does_not_move() -> None:
    x, y = strings((2, 3)), strings((2, 3), AWKWARD[::-1])
    both, out = [text(x), text(y, True)], Out("STRING")
    rows = [
        (single_op("CONCATENATION", both, out, axis=1), np.concatenate([x, y], 1)),
        (single_op("PACK", both, out, axis=2, values_count=2), np.stack([x, y], 2)),
        (single_op("TRANSPOSE", [text(x), const([1, 0])], out), x.T),
        (single_op("BROADCAST_TO", [text(x), const([4, 2, 3])], out), np.stack([x] * 4)),
        (single_op("REVERSE_V2", [text(x), const([1])], out), x[:, ::-1]),
        (single_op("GATHER", [text(x), np.int32([2, 0])], out, axis=1), x[:, [2, 0]]),
    ]
    for model, wanted in rows:
        assert run_all(model)[0].tolist() == wanted.tolist(), model.op


@pytest.mark.parametrize(
    "op", ["LESS", "GREATER_EQUAL", "ADD", "MAXIMUM", "SUM", "CAST", "BITCAST"]
)
def test_what_strings_cannot_do_is_said(op: str) -> None:
    args: list[Any] = [text(strings((2, 3)))]
    args += (
        [const([1])] if op == "SUM" else [text(strings((2, 3)))] * (op not in ("CAST", "BITCAST"))
    )
    types = {"CAST": "INT32", "BITCAST": "INT64", "LESS": "BOOL", "GREATER_EQUAL": "BOOL"}
    outs = Out(types.get(op, "STRING"), shape=(2, 3))
    with pytest.raises(RilletError, match=f"{op}.*STRING") as caught:
        ready(single_op(op, args, outs).content)
    assert caught.value.status == "UNSUPPORTED"


def test_a_number_does_not_become_a_string() -> None:
    model = single_op("BITCAST", [np.int64([[1, 2]])], Out("STRING", shape=(1,)))
    with pytest.raises(RilletError, match="STRING"):
        ready(model.content)


def test_variables_cannot_hold_strings() -> None:
    sub = models.Sub("main")
    x = sub.input((2,), "STRING")
    handle = sub.op("VAR_HANDLE", [], ((), "RESOURCE"), container="c", shared_name="v")
    sub.op("ASSIGN_VARIABLE", [handle, x])
    with pytest.raises(RilletError, match="variables of this type are not supported"):
        ready(models.serialize(sub.ends(x)))


# ---- subgraphs ----


@pytest.mark.parametrize("choice", [True, False])
def test_branches_take_and_give_strings(choice: bool) -> None:
    main, yes, no = models.Sub("main"), models.Sub("yes"), models.Sub("no")
    c, x = main.input((1,), "BOOL"), main.input((2, 3), "STRING")
    a = yes.input((2, 3), "STRING")
    yes.ends(yes.op("RESHAPE", [a, np.int32([3, 2])], ((3, 2), "STRING")))
    no.input((2, 3), "STRING")
    filled = no.op("FILL", [np.int32([3, 2]), constant("word", np.array(b"no\0", object))],
                   ((3, 2), "STRING"))  # fmt: skip
    no.ends(filled)
    y = main.op("IF", [c, x], ((3, 2), "STRING"), then_subgraph_index=1, else_subgraph_index=2)
    content = models.serialize(main.ends(y), yes.graph, no.graph)
    found = [
        run_with(engine(model_content=content), np.array([choice]), strings((2, 3)))[0].tolist()
        for engine in (runtime.Interpreter, LiteRT)
    ]
    assert found[0] == found[1]
    assert found[0] == (strings((3, 2)) if choice else strings((3, 2), [b"no\0"])).tolist()


def test_loops_carry_strings() -> None:
    """i, x = 0, x; while i < 3: i, x = i + 1, x[[1, 2, 0]]."""
    main, condition, body = models.Sub("main"), models.Sub("condition"), models.Sub("body")
    i, x = main.input((1,), "INT32"), main.input((3,), "STRING")
    ci = condition.input((1,), "INT32")
    condition.input((3,), "STRING")
    condition.ends(condition.op("LESS", [ci, np.int32([4])], ((1,), "BOOL")))
    bi, bx = body.input((1,), "INT32"), body.input((3,), "STRING")
    step = body.op("ADD", [bi, np.int32([1])], ((1,), "INT32"))
    body.ends(step, body.op("GATHER_ND", [bx, np.int32([[1], [2], [0]])], ((3,), "STRING")))
    outs = main.op("WHILE", [i, x], ((1,), "INT32"), ((3,), "STRING"),
                   cond_subgraph_index=1, body_subgraph_index=2)  # fmt: skip
    content = models.serialize(main.ends(*outs), condition.graph, body.graph)
    _, y = run_with(runtime.Interpreter(model_content=content), np.int32([0]), strings((3,)))
    assert y.tolist() == [b"a", b"a\0b", b""]


def test_strings_whose_shape_only_a_run_tells() -> None:
    sub = models.Sub("main")
    x, times = sub.input((2,), "STRING"), sub.input((1,), "INT32")
    tiled = sub.op("TILE", [x, times], ((2,), "STRING", (-1,)))
    y = sub.op("EQUAL", [tiled, constant("a", strings((1,), [b"a"]))], ((2,), "BOOL", (-1,)))
    content = models.serialize(sub.ends(tiled, y))
    mine = runtime.Interpreter(model_content=content)
    for count in (3, 1, 4000, 0, 2):
        repeated, same = run_with(mine, strings((2,)), np.int32([count]))
        assert repeated.tolist() == [b"", b"a"] * count and same.tolist() == [False, True] * count


# ---- custom operators ----


def test_custom_operators_read_strings() -> None:
    model = single_op(
        "Lengths", [text(strings((2, 3)))], Out("INT64", shape=(2, 3)), custom_options=b""
    )

    def lengths(x: np.ndarray, options: bytes) -> np.ndarray:
        return np.array([len(item) for item in x.flat], np.int64).reshape(x.shape)

    mine = runtime.Interpreter(model_content=model.content, custom_ops={"Lengths": lengths})
    assert run_with(mine, strings((2, 3)))[0].tolist() == [[0, 1, 3], [2, 3, 6]]


def test_custom_operators_in_python_give_none() -> None:
    model = single_op("Echo", [text(strings((2,)))], Out("STRING", shape=(2,)), custom_options=b"")
    mine = runtime.Interpreter(
        model_content=model.content, custom_ops={"Echo": lambda x, options: x}
    )
    with pytest.raises(TypeError, match="cannot give strings"):
        mine.allocate_tensors()
