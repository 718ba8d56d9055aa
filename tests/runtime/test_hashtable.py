# SPDX-License-Identifier: Apache-2.0
"""Tables from numbers to strings and back: filled once, searched, kept from run to run."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from test_control_flow import run as run_with
from test_strings import AWKWARD, constant, strings

import runtime
from converter import ir
from runtime import RilletError

TO_TEXT = {"key_dtype": "INT64", "value_dtype": "STRING"}
TO_NUMBER = {"key_dtype": "STRING", "value_dtype": "INT64"}


def numbers(values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def text(*values: bytes) -> np.ndarray:
    return strings((len(values),), values)


def held(name: str, value: Any) -> ir.Value:
    return constant(name, value) if value.dtype == object else ir.Value.constant(name, value)


def handle(sub: models.Sub, kind: dict[str, str], table: int = 4) -> Any:
    return sub.op("HASHTABLE", [], ((1,), "RESOURCE"), table_id=table, **kind)


def fill(sub: models.Sub, table: Any, keys: np.ndarray, values: np.ndarray) -> None:
    part = f"{sub.graph.name}_{len(sub.graph.nodes)}"
    sub.op("HASHTABLE_IMPORT", [table, held(f"{part}_k", keys), held(f"{part}_v", values)])


def find(sub: models.Sub, table: Any, x: Any, default: np.ndarray) -> Any:
    dtype = "STRING" if default.dtype == object else "INT64"
    missing = held(f"missing_{len(sub.graph.nodes)}", default)
    return sub.op("HASHTABLE_FIND", [table, x, missing], (x.shape, dtype))


def table_model(
    *imports: tuple[np.ndarray, np.ndarray],
    default: np.ndarray,
    shape: Any = (4,),
    once: bool = True,
) -> bytes:
    """Finds x in a table that the imports fill, in a subgraph of CALL_ONCE or in the main one."""
    to_text = default.dtype == object
    kind = TO_TEXT if to_text else TO_NUMBER
    main, setup = models.Sub("main"), models.Sub("setup")
    x = main.input(shape, kind["key_dtype"])
    if once:
        main.op("CALL_ONCE", [], init_subgraph_index=1)
    where = setup if once else main
    for keys, values in imports:
        fill(where, handle(where, kind), keys, values)
    found = find(main, handle(main, kind), x, default)
    size = main.op("HASHTABLE_SIZE", [handle(main, kind)], ((1,), "INT64"))
    graphs = [main.ends(found, size), *([setup.graph] if once else [])]
    return models.serialize(*graphs)


def agree(content: bytes, *feeds: np.ndarray) -> list[Any]:
    """What both give."""
    mine = run_with(runtime.Interpreter(model_content=content), *feeds)
    peer = run_with(LiteRT(model_content=content), *feeds)
    for a, b in zip(mine, peer, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    return [y.tolist() for y in mine]


@pytest.mark.parametrize("once", [True, False])
def test_numbers_are_told_as_text(once: bool) -> None:
    keys = numbers([5, -(2**63), 2**63 - 1, 0, -1, 6, 7, 8])
    content = table_model((keys, strings((8,))), default=text(b"?"), shape=(2, 5), once=once)
    x = numbers([[5, 0, 9, -1, 8], [2**63 - 1, -(2**63), 1, 7, 7]])
    words, size = agree(content, x)
    wanted = dict(zip(keys.tolist(), AWKWARD, strict=True))
    assert words == [[wanted.get(key, b"?") for key in row] for row in x.tolist()]
    assert size == [8]


@pytest.mark.parametrize("once", [True, False])
def test_text_is_told_as_numbers(once: bool) -> None:
    content = table_model((strings((8,)), numbers(range(8))), default=numbers([-1]), once=once)
    for asked in ([b"", b"\0\0", b"\0", b"a\0b"], [b"\xff\xfe\x80", b"a", b"b", b"x" * 4999]):
        ids, size = agree(content, text(*asked))
        assert ids == [AWKWARD.index(w) if w in AWKWARD else -1 for w in asked] and size == [8]


def test_the_first_of_equal_keys_stays() -> None:
    content = table_model(
        (numbers([5, 9, 5, 9, 5]), text(b"x", b"y", b"z", b"w", b"v")), default=text(b"?")
    )
    assert agree(content, numbers([5, 9, 5, 1])) == [[b"x", b"y", b"x", b"?"], [2]]


@pytest.mark.parametrize("once", [True, False])
def test_a_second_import_changes_nothing(once: bool) -> None:
    imports = [(numbers([5]), text(b"x")), (numbers([9, 5]), text(b"n", b"o"))]
    content = table_model(*imports, default=text(b"?"), once=once)
    assert agree(content, numbers([5, 9, 5, 9])) == [[b"x", b"?", b"x", b"?"], [1]]


def test_of_several_defaults_the_first_counts() -> None:
    content = table_model((numbers([5]), text(b"x")), default=text(b"?", b"!"))
    assert agree(content, numbers([5, 6, 7, 8]))[0] == [b"x", b"?", b"?", b"?"]


def test_an_empty_table_has_nothing() -> None:
    content = table_model((numbers([]), text()), default=text(b"?"), shape=(1,))
    assert agree(content, numbers([0])) == [[b"?"], [0]]


def test_a_table_outlives_runs_and_resets() -> None:
    content = table_model((strings((8,)), numbers(range(8))), default=numbers([-1]))
    mine = runtime.Interpreter(model_content=content)
    for _ in range(3):
        assert run_with(mine, text(b"a", b"", b" ", b"?"))[0].tolist() == [1, 0, 7, -1]
        mine.reset_all_variables()
    mine.resize_tensor_input(0, (1,))
    assert run_with(mine, text(b"a"))[0].tolist() == [1]


def test_searching_before_importing_is_said() -> None:
    content = table_model(default=text(b"?"), once=False)
    with pytest.raises(RilletError, match="table 4 is searched before anything") as caught:
        run_with(runtime.Interpreter(model_content=content), numbers([1, 2, 3, 4]))
    assert caught.value.status == "BAD_VALUE"
    with pytest.raises(RuntimeError, match="initialized before using"):
        run_with(LiteRT(model_content=content), numbers([1, 2, 3, 4]))


@pytest.mark.parametrize("kind", ["number", "text"])
def test_many_entries_against_a_dictionary(kind: str, rng: Any) -> None:
    drawn = rng.integers(-5000, 5000, 6000)
    asked = rng.integers(-6000, 6000, 4000)
    if kind == "number":
        keys, x, values = drawn.astype(np.int64), asked.astype(np.int64), strings((6000,))
        default: Any = text(b"none")
    else:
        keys, x = (
            strings((6000,), [b"w%d" % i for i in drawn]),
            strings((4000,), [b"w%d" % i for i in asked]),
        )
        values, default = np.arange(6000), numbers([-7])
    wanted: dict[Any, Any] = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        wanted.setdefault(key, value)
    content = table_model((keys, values), default=default, shape=x.shape)
    found, size = agree(content, x)
    assert found == [wanted.get(key, default[0]) for key in x.tolist()] and size == [len(wanted)]


# ---- imports of what is computed ----


def computed(keys: str, values: str) -> bytes:
    """Inputs are imported, so that they must outlive the run that imported them."""
    main = models.Sub("main")
    k, v, x = main.input((3,), keys), main.input((3,), values), main.input((2,), keys)
    kind = {"key_dtype": keys, "value_dtype": values}
    table = handle(main, kind)
    main.op("HASHTABLE_IMPORT", [table, k, v])
    return models.serialize(
        main.ends(find(main, table, x, text(b"?") if values == "STRING" else numbers([-1])))
    )


def test_imported_inputs_are_kept() -> None:
    content = computed("STRING", "INT64")
    mine, peer = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    first = [text(b"a\0", b"", b"long" * 999), numbers([1, 2, 3]), text(b"", b"b")]
    later = [text(b"b", b"b", b"b"), numbers([7, 8, 9]), text(b"a\0", b"long" * 999)]
    for interpreter in (mine, peer):
        assert run_with(interpreter, *first)[0].tolist() == [2, -1]
        assert run_with(interpreter, *later)[0].tolist() == [1, 3]


def test_imported_words_are_kept() -> None:
    mine = runtime.Interpreter(model_content=computed("INT64", "STRING"))
    out = mine.get_output_details()[0]["index"]
    first = run_with(mine, numbers([1, 2, 3]), text(b"one", b"", b"three" * 999), numbers([3, 4]))
    assert first[0].tolist() == [b"three" * 999, b"?"]
    again = run_with(mine, numbers([0, 0, 0]), text(b"x", b"y", b"z"), numbers([1, 2]))
    assert again[0].tolist() == [b"one", b""]
    mine.set_tensor(1, text(b"1", b"2", b"3"))
    assert mine.get_tensor(out).tolist() == [b"one", b""]


def test_signatures_share_tables_and_interpreters_do_not() -> None:
    put, get = models.Sub("put"), models.Sub("get")
    k = put.input((2,), "STRING")
    fill_from = handle(put, TO_NUMBER)
    put.op("HASHTABLE_IMPORT", [fill_from, k, numbers([1, 2])])
    size = put.op("HASHTABLE_SIZE", [fill_from], ((1,), "INT64"))
    x = get.input((2,), "STRING")
    y = find(get, handle(get, TO_NUMBER), x, numbers([-1]))
    signatures = [
        ir.Signature("put", {"k": 0}, {"size": 0}, graph=0),
        ir.Signature("get", {"x": 0}, {"y": 0}, graph=1),
    ]
    content = models.serialize(put.ends(size), get.ends(y), signatures=signatures)
    model = runtime.Model(model_content=content)
    one, other = model.interpreter(), model.interpreter()
    assert one.get_signature_runner("put")(k=text(b"a", b"b"))["size"].tolist() == [2]
    for _ in range(2):
        found = one.get_signature_runner("get")(x=text(b"b", b"c"))
        assert found["y"].tolist() == [2, -1]
    with pytest.raises(RilletError, match="searched before"):
        other.get_signature_runner("get")(x=text(b"b", b"c"))


# ---- what is refused ----


def refused(sub: models.Sub, *outputs: Any, status: str, words: str, feeds: Any = ()) -> None:
    content = models.serialize(sub.ends(*outputs))
    with pytest.raises(RilletError, match=words) as caught:
        run_with(runtime.Interpreter(model_content=content), *feeds)
    assert caught.value.status == status


@pytest.mark.parametrize("kind", [("INT64", "INT64"), ("STRING", "STRING"), ("INT32", "STRING")])
def test_tables_of_other_types_are_refused(kind: tuple[str, str]) -> None:
    sub = models.Sub("main")
    table = handle(sub, {"key_dtype": kind[0], "value_dtype": kind[1]})
    size = sub.op("HASHTABLE_SIZE", [table], ((1,), "INT64"))
    refused(sub, size, status="UNSUPPORTED", words=f"a table from {kind[0]} to {kind[1]}")


def test_one_table_of_two_kinds_is_refused() -> None:
    sub = models.Sub("main")
    sizes = [
        sub.op("HASHTABLE_SIZE", [handle(sub, kind)], ((1,), "INT64"))
        for kind in (TO_TEXT, TO_NUMBER)
    ]
    refused(sub, *sizes, status="BAD_MODEL", words="another handle says from INT64 to STRING")


def test_as_many_keys_as_values_are_wanted() -> None:
    sub = models.Sub("main")
    fill(sub, handle(sub, TO_TEXT), numbers([1, 2, 3]), text(b"x", b"y"))
    x = sub.input((1,))
    feed = np.float32([0])
    refused(sub, x, status="BAD_MODEL", words="must have the same shape", feeds=[feed])


def test_a_table_used_the_other_way_round_is_refused() -> None:
    sub = models.Sub("main")
    x = sub.input((1,), "STRING")
    y = find(sub, handle(sub, TO_TEXT), x, numbers([0]))
    refused(sub, y, status="BAD_VALUE", words="table 4 is from INT64 to STRING", feeds=[text(b"")])


def test_a_variable_is_no_table() -> None:
    sub = models.Sub("main")
    variable = sub.op("VAR_HANDLE", [], ((), "RESOURCE"), container="c", shared_name="v")
    size = sub.op("HASHTABLE_SIZE", [variable], ((1,), "INT64"))
    refused(sub, size, status="BAD_VALUE", words="which is none of the model's 0 tables")


@pytest.mark.parametrize("number", [0, 1, -2, -3, 2**31 - 1, -(2**31)])
def test_a_handle_from_outside_is_judged(number: int) -> None:
    sub = models.Sub("main")
    handle(sub, TO_TEXT)
    x = sub.input((1,), "INT32")
    as_handle = sub.op("BITCAST", [x], ((1,), "RESOURCE"))
    size = sub.op("HASHTABLE_SIZE", [as_handle], ((1,), "INT64"))
    words = f"holds {number}, which is none"
    refused(sub, size, status="BAD_VALUE", words=words, feeds=[np.int32([number])])


# ---- whole models ----


def test_a_classifier_that_names_what_it_sees(rng: Any) -> None:
    """Scores -> the three best -> their labels."""
    labels = [b"tench", b"", b"great white shark", "h\u00e4mmer".encode(), b"\xffray", b"cock"]
    main, setup = models.Sub("main"), models.Sub("setup")
    x = main.input((2, 4))
    main.op("CALL_ONCE", [], init_subgraph_index=1)
    weights = rng.standard_normal((6, 4)).astype(np.float32)
    scores = main.op("FULLY_CONNECTED", [x, weights, np.zeros(6, np.float32)], ((2, 6),))
    _, best = main.op("TOPK_V2", [scores, np.int32(3)], ((2, 3),), ((2, 3), "INT32"))
    ids = main.op("CAST", [best], ((2, 3), "INT64"), in_data_type="INT32", out_data_type="INT64")
    names = find(main, handle(main, TO_TEXT), ids, text(b"unknown"))
    fill(setup, handle(setup, TO_TEXT), numbers(range(6)), text(*labels))
    content = models.serialize(main.ends(names), setup.graph)
    mine = runtime.Interpreter(model_content=content)
    assert mine.extent() == "static"
    for _ in range(3):
        value = rng.standard_normal((2, 4)).astype(np.float32)
        order = np.argsort(-(value @ weights.T), axis=1, kind="stable")[:, :3]
        wanted = [[labels[i] for i in row] for row in order]
        assert run_with(mine, value)[0].tolist() == wanted == agree(content, value)[0]


def test_words_become_vectors(rng: Any) -> None:
    """Words -> ids of a vocabulary -> rows of an embedding -> their mean."""
    words = [b"[UNK]", b"the", b"cat", b"caf\xc3\xa9", b""]
    embedding = rng.standard_normal((5, 8)).astype(np.float32)
    main, setup = models.Sub("main"), models.Sub("setup")
    x = main.input((3,), "STRING", shape_signature=(-1,))
    main.op("CALL_ONCE", [], init_subgraph_index=1)
    ids = find(main, handle(main, TO_NUMBER), x, numbers([0]))
    short = main.op("CAST", [ids], ((3,), "INT32"), in_data_type="INT64", out_data_type="INT32")
    rows = main.op("EMBEDDING_LOOKUP", [short, embedding], ((3, 8),))
    mean = main.op("MEAN", [rows, np.int32([0])], ((8,),), keep_dims=False)
    fill(setup, handle(setup, TO_NUMBER), text(*words), numbers(range(5)))
    content = models.serialize(main.ends(mean), setup.graph)
    mine, peer = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    for said in ([b"the", b"cat", b"dog"], [b"caf\xc3\xa9", b"", b"the\0"], [b"cat"]):
        value = text(*said)
        for interpreter in (mine, peer):
            interpreter.resize_tensor_input(0, value.shape)
        found, wanted = run_with(mine, value)[0], run_with(peer, value)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        places = [words.index(word) if word in words else 0 for word in said]
        np.testing.assert_allclose(found, embedding[places].mean(0), rtol=1e-5, atol=1e-6)
