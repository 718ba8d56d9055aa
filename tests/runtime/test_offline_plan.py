# SPDX-License-Identifier: Apache-2.0
"""The memory plan a file carries (OfflineMemoryAllocation): written at export, obeyed by the
runtime, refused where it puts living tensors over each other, of no consequence to LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
import runtime_models as models
from ai_edge_litert.interpreter import Interpreter as LiteRT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import graphs, lifetimes, run_all
from test_zoo_models import outputs
from zoo import zoo_files

import runtime
from converter import ir, read_tflite, write_tflite
from converter.errors import ConversionError
from converter.flatbuffer import Decoder
from runtime._session import Session

PLAN = "OfflineMemoryAllocation"
HEADER = [1, 1]


def written_plan(data: bytes) -> np.ndarray | None:
    """The int32 numbers of the plan in a file; None: it has none."""
    root = Decoder(data).root("Model")
    for item in root["metadata"] or []:
        if item["name"] == PLAN:
            return root["buffers"][item["buffer"]]["data"].view("<i4")
    return None


def with_plan(data: bytes, numbers) -> bytes:
    """The file with other numbers (as many) in its plan."""
    old, new = written_plan(data).tobytes(), np.array(numbers, "<i4").tobytes()
    assert len(old) == len(new) and data.count(old) == 1
    return data.replace(old, new)


def with_offsets(data: bytes, offsets: dict[str, int]) -> bytes:
    """The file with a plan of these offsets by tensor name; -1 for all others."""
    names = [d["name"] for d in runtime.Interpreter(model_content=data).get_tensor_details()]
    assert offsets.keys() <= set(names)
    return with_plan(data, [*HEADER, len(names), *(offsets.get(name, -1) for name in names)])


def offsets_used(interpreter: runtime.Interpreter) -> list[int]:
    session = interpreter._session
    infos = [session.info(t) for t in range(session.model.tensor_count(0))]
    return [-1 if info.offset == 2**64 - 1 else info.offset for info in infos]


def opened(data: bytes, **options) -> runtime.Interpreter:
    interpreter = runtime.Interpreter(model_content=data, **options)
    interpreter.allocate_tensors()
    return interpreter


@pytest.fixture
def chain() -> bytes:
    """x [2,16] -> dense_0 -> RELU6 -> dense_2 -> y, each of 128 bytes, with a plan."""
    rng, b = np.random.default_rng(0), models.Builder()
    x = b.input((2, 16), shape_signature=(-1, 16))
    first = b.dense(x, 16, rng)
    second = b.op("RELU6", [first], first.shape)
    third = b.dense(second, 16, rng)
    return write_tflite(b.model(b.dense(third, 16, rng)), offline_plan=True)


NAMES = ["x0", "fully_connected_0", "relu6_1", "fully_connected_2", "fully_connected_3"]


# ---- written ----


def check_written(data: bytes) -> None:
    """No two tensors alive at the same node share a byte, TFLite Micro's rule for a plan, but what
    goes into a RESHAPE and comes out of it, which that takes for the same."""
    numbers = written_plan(data)
    interpreter = runtime.Interpreter(model_content=data)
    details = interpreter.get_tensor_details()
    assert list(numbers[:3]) == [*HEADER, len(details)] and numbers.size == 3 + len(details)
    alive, size = lifetimes(interpreter), {}
    for d, offset in zip(details, numbers[3:], strict=True):
        if offset >= 0:
            assert offset % 16 == 0 and d["index"] in alive
            bytes_of = int(np.prod(d["shape"])) * np.dtype(d["dtype"]).itemsize
            size[d["index"]] = (int(offset), int(offset) + bytes_of)
    nodes = interpreter.nodes()
    same = {(n["inputs"][0], n["outputs"][0]) for n in nodes if n["op"] == "RESHAPE"}
    for a, (start, end) in size.items():
        for b, (other, other_end) in size.items():
            if {(a, b), (b, a)} & same and start == other:
                continue
            if a < b and start < other_end and other < end:
                assert alive[a][1] < alive[b][0] or alive[b][1] < alive[a][0], (a, b)


@settings(max_examples=60, deadline=None)
@given(model=graphs(), seed=st.integers(0, 1000))
def test_a_written_plan_is_sound_and_obeyed(model, seed):
    planned = write_tflite(read_tflite(model), offline_plan=True)
    assert written_plan(model) is None
    check_written(planned)
    free, bound = (runtime.Interpreter(model_content=m) for m in (model, planned))
    for ours, expected in zip(run_all(bound, seed), run_all(free, seed), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert offsets_used(bound) == list(written_plan(planned)[3:])


def test_a_reshape_moves_nothing():
    b = models.Builder()
    x = b.input((2, 16))
    first = b.op("RELU6", [x], x.shape)
    shape = ir.Value.constant("shape", np.array([4, 8], np.int32))
    turned = b.op("RESHAPE", [first, shape], (4, 8))
    data = write_tflite(b.model(b.op("TANH", [turned], (4, 8))), offline_plan=True)
    check_written(data)
    interpreter = opened(data)
    places = offsets_used(interpreter)
    source, out = next((n["inputs"][0], n["outputs"][0]) for n in interpreter.nodes()[1:2])
    assert places[source] == places[out] >= 0


def test_litert_does_not_mind(chain):
    x = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    results = []
    for data in (chain, write_tflite(read_tflite(chain))):
        theirs = LiteRT(model_content=data)
        index = theirs.get_input_details()[0]["index"]
        theirs.resize_tensor_input(index, [2, 16])
        theirs.allocate_tensors()
        theirs.set_tensor(index, x)
        theirs.invoke()
        results.append(theirs.get_tensor(theirs.get_output_details()[0]["index"]))
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], runtime.load(chain)(x), rtol=1e-4, atol=1e-4)


def test_files_have_a_plan_and_bytes_in_passing_have_none(tmp_path):
    model = read_tflite(models.dense_stack())
    assert written_plan(write_tflite(model)) is None
    assert written_plan(write_tflite(model, tmp_path / "a.tflite")) is not None
    assert written_plan((tmp_path / "a.tflite").read_bytes()) is not None
    assert written_plan(write_tflite(model, tmp_path / "b", offline_plan=False)) is None
    model.metadata[PLAN] = b"of another file"
    assert written_plan(write_tflite(model)) is None


def test_what_has_no_place_is_left_open():
    half, _ = models.dense_float16()
    data = write_tflite(read_tflite(half), offline_plan=True)
    weights = runtime.Interpreter(model_content=data).nodes()[0]["outputs"][0]
    assert written_plan(data)[3 + weights] == -1
    check_written(data)


def test_what_the_runtime_refuses_is_written_without(tmp_path):
    b = models.Builder()
    x = b.input((1, 4))
    odd = b.graph.add_node("CUSTOM", [x], [ir.Value("y", "FLOAT32", (1, 4))], custom_code="Odd")
    assert written_plan(write_tflite(b.model(*odd.outputs), tmp_path / "odd.tflite")) is None


def test_several_graphs_are_written_without_and_their_plan_is_left_alone():
    model = read_tflite(models.dense_stack())
    model.graphs.append(read_tflite(models.dense_stack((3, 2), signature=False)).main)
    assert written_plan(write_tflite(model, offline_plan=True)) is None


@pytest.mark.parametrize("path", zoo_files("models/tflite/*.tflite"), ids=lambda p: p.stem)
def test_public_models_with_a_plan(path):
    model = read_tflite(path)
    plain, planned = write_tflite(model), write_tflite(model, offline_plan=True)
    if written_plan(planned) is None:
        with pytest.raises(runtime.RilletError):
            runtime.Interpreter(path).allocate_tensors()
        return
    check_written(planned)
    free, bound = (runtime.Interpreter(model_content=m) for m in (plain, planned))
    memory, scratch = bound.memory(), max(node["scratch"] for node in bound.nodes())
    assert memory["arena"] <= 1.1 * memory["peak_live"] + scratch + 64
    for ours, expected in zip(outputs(bound), outputs(free), strict=True):
        np.testing.assert_array_equal(ours, expected)
    try:
        theirs = [LiteRT(model_content=m) for m in (plain, planned)]
    except RuntimeError:  # a custom operator that LiteRT lacks
        return
    for one, other in zip(*map(outputs, theirs), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- obeyed ----


def check_runs(data: bytes, plain: bytes, offsets: dict[str, int]) -> runtime.Interpreter:
    interpreter = opened(data)
    names = [d["name"] for d in interpreter.get_tensor_details()]
    used = dict(zip(names, offsets_used(interpreter), strict=True))
    assert {name: used[name] for name in offsets} == offsets
    (result,), (expected,) = run_all(interpreter, 5), run_all(opened(plain), 5)
    np.testing.assert_array_equal(result, expected)
    return interpreter


def test_tight_offsets_are_obeyed_to_the_byte(chain):
    """Multiples of 16 that are none of 64, without a byte between tensors."""
    plain = write_tflite(read_tflite(chain))
    places = dict(zip(NAMES, [16, 144, 272, 400, 528], strict=True))
    interpreter = check_runs(with_offsets(chain, places), plain, places)
    assert interpreter.memory()["arena"] == 704  # 656, in blocks of 64


def test_tensors_without_an_offset_are_placed_around_the_others(chain):
    plain = write_tflite(read_tflite(chain))
    places = {"relu6_1": 48, "fully_connected_3": 336}
    check_runs(with_offsets(chain, places), plain, places)


def test_memory_of_an_input_may_be_reused_after_its_last_reader(chain):
    plain = write_tflite(read_tflite(chain))
    places = dict(zip(NAMES, [0, 128, 256, 0, 128], strict=True))
    check_runs(with_offsets(chain, places), plain, places)


def test_a_kernel_that_works_in_place_may_be_told_to(chain):
    plain = write_tflite(read_tflite(chain))
    places = dict(zip(NAMES, [0, 128, 128, 256, 384], strict=True))
    check_runs(with_offsets(chain, places), plain, places)


def test_another_shape_is_planned_anew(chain):
    data = with_offsets(chain, {NAMES[0]: 4096})
    interpreter, plain = runtime.Interpreter(model_content=data), runtime.load(chain)
    assert interpreter.memory()["arena"] > 4096
    for batch, obeyed in [(3, False), (2, True), (1, False)]:
        x = np.random.default_rng(batch).standard_normal((batch, 16)).astype(np.float32)
        np.testing.assert_array_equal(interpreter(x), plain(x))
        assert (4096 in offsets_used(interpreter)) == obeyed


def test_preserved_tensors_are_planned_anew(chain):
    data = with_offsets(chain, dict(zip(NAMES, [0, 128, 0, 128, 0], strict=True)))
    interpreter = opened(data, experimental_preserve_all_tensors=True)
    placed = [offset for offset in offsets_used(interpreter) if offset >= 0]
    assert len(set(placed)) == len(placed) == len(NAMES)


# ---- refused ----


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ([0, 64, 256, 384, 512], "'fully_connected_0' over 'x0'"),  # a node's input and output
        ([0, 0, 256, 384, 512], "over 'x0'|'x0' over"),
        ([0, 128, 112, 384, 512], "'relu6_1' over 'fully_connected_0'"),  # partly: not in place
        ([0, 128, 256, 256, 512], "over 'relu6_1'"),  # FULLY_CONNECTED does not work in place
        ([0, 128, 256, 384, 384], "'fully_connected_3' over 'fully_connected_2'"),
    ],
)
def test_living_tensors_over_each_other_are_refused(chain, offsets, words):
    data = with_offsets(chain, dict(zip(NAMES, offsets, strict=True)))
    interpreter = runtime.Interpreter(model_content=data)
    for call in (interpreter.allocate_tensors, interpreter.memory):
        with pytest.raises(runtime.RilletError, match=words) as caught:
            call()
        assert caught.value.status == "BAD_MODEL"
    interpreter.resize_tensor_input(0, [5, 16])  # then the plan says nothing
    assert interpreter(np.ones((5, 16), np.float32)).shape == (5, 16)


def test_outputs_live_to_the_end():
    b = models.Builder()
    x = b.input((4, 4))
    early = b.op("NEG", [x], (4, 4))
    late = b.op("ABS", [b.op("EXP", [x], (4, 4))], (4, 4))
    data = write_tflite(b.model(early, late), offline_plan=True)
    with pytest.raises(runtime.RilletError, match=r"'abs_2' over 'neg_0'"):
        opened(with_offsets(data, {"neg_0": 64, "abs_2": 64}))


def test_offsets_that_are_no_multiple_of_16_are_refused(chain):
    with pytest.raises(runtime.RilletError, match=r"'relu6_1' at byte 8, which is no multiple"):
        opened(with_offsets(chain, {"relu6_1": 8}))


def test_the_farthest_offset_is_counted_and_nothing_allocated(chain):
    far = 2**31 - 64
    interpreter = runtime.Interpreter(model_content=with_offsets(chain, {NAMES[0]: far}))
    assert interpreter.memory()["arena"] == far + 128


@pytest.mark.parametrize("count", [0, 1, 2**31 - 1, -1])
def test_a_plan_of_another_number_of_tensors_is_refused(chain, count):
    numbers = written_plan(chain).copy()
    numbers[2] = count
    with pytest.raises(runtime.RilletError, match=r"speaks of \d+ tensors and holds") as caught:
        runtime.Interpreter(model_content=with_plan(chain, numbers))
    assert caught.value.status == "BAD_MODEL"


def test_a_plan_for_export_is_never_run(chain):
    session = Session(runtime.Model(model_content=chain), plan_only=True)
    with pytest.raises(runtime.RilletError, match="bind after a plan for export") as caught:
        session.allocate()
    assert caught.value.status == "BAD_STATE"


def test_errors_of_writing_stay_errors(tmp_path):
    with pytest.raises(ConversionError, match="cannot be written"):
        write_tflite(read_tflite(models.dense_stack()), tmp_path / "none" / "m.tflite")
