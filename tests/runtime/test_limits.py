# SPDX-License-Identifier: Apache-2.0
"""What a model may take, and how an invoke is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from unittest import mock

import control_models
import numpy as np
import pytest
from single_op import Arg, Out, const, single_op
from test_control_flow import calling, composite

import runtime
from runtime import RilletError, _binding, _session
from runtime._model import complete_limits

ENDLESS = control_models.loop(limit=2**31 - 1)
NO_LIMITS = {"max_iterations": None, "max_macs": None}


def nested(depth: int) -> bytes:
    """Calls in calls, `depth` of them."""
    return calling(*[composite(i + 1) for i in range(depth)], ("", {}))


def refusal(content: bytes, **limits: int | None) -> RilletError:
    with pytest.raises(RilletError) as caught:
        interpreter = runtime.Interpreter(model_content=content, limits=limits)
        interpreter.allocate_tensors()
        interpreter.invoke()
    return caught.value


@pytest.mark.parametrize(
    "limit, value, where",
    [
        ("max_bytes", 100, "node 0 IF"),
        ("max_macs", 3, "node 0 IF"),
        ("max_tensor_bytes", 4, "tensor 1"),
        ("max_arena_bytes", 32, "node 0 IF"),
        ("max_iterations", 1, "node 0 IF"),
    ],
)
def test_a_limit_names_the_node_and_how_to_raise_it(limit: str, value: int, where: str) -> None:
    error = refusal(control_models.branches(), **{limit: value})
    assert error.status == "LIMIT" and where in str(error)
    assert f'Interpreter(..., limits={{"{limit}": ...}})' in str(error)
    raised = runtime.Interpreter(model_content=control_models.branches(), limits={limit: None})
    raised.allocate_tensors()
    raised.invoke()


def test_depth_of_calls() -> None:
    assert "more than 1 deep" in str(refusal(nested(2), max_depth=1))
    runtime.Interpreter(model_content=nested(2), limits={"max_depth": 2})
    # Beyond what the stack is sure to hold no caller can go.
    assert "more than 64 deep" in str(refusal(nested(65), max_depth=None))


def test_memory_that_grows_is_limited() -> None:
    content = control_models.growing_loop(20)
    assert refusal(content, max_region_bytes=256).status == "LIMIT"
    interpreter = runtime.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    fixed = interpreter.memory()
    interpreter.invoke()
    assert interpreter.memory()["region"] > 256
    error = refusal(content, max_bytes=fixed["prepared"] + fixed["arena"] + 256)
    assert error.status == "LIMIT" and "max_bytes" in str(error)


def test_moving_elements_counts_as_work() -> None:
    """An operator without multiply-accumulates cannot run for nothing."""
    model = single_op("NEG", [np.zeros(1000, np.float32)])
    assert refusal(model.content, max_macs=999).status == "LIMIT"
    shape = const([10, 100])
    spread = single_op("BROADCAST_TO", [np.zeros((1, 1), np.float32), shape])
    assert refusal(spread.content, max_macs=999).status == "LIMIT"
    length = [Arg(np.int32([1000])), Arg(np.float32(1))]
    filled = single_op("FILL", length, Out(shape=(1,)))
    limited = runtime.Interpreter(model_content=filled.content, limits={"max_macs": 999})
    limited.allocate_tensors()
    limited.set_tensor(0, np.int32([1000]))
    with pytest.raises(RilletError, match="max_macs"):
        limited.invoke()


def test_an_endless_loop_ends() -> None:
    assert "max_iterations" in str(refusal(ENDLESS))


@pytest.mark.parametrize("limits", [{"max_mac": 1}, {"max_macs": 0}, {"max_macs": 1.5}], ids=str)
def test_wrong_limits_are_refused(limits: dict[str, int]) -> None:
    error = refusal(ENDLESS, **limits)
    assert error.status == "BAD_ARGUMENT" and next(iter(limits)) in str(error)


def test_limits_belong_to_the_model() -> None:
    model = runtime.Model(model_content=ENDLESS, limits={"max_iterations": 5})
    with pytest.raises(RilletError, match="took 5 turns"):
        interpreter = model.interpreter()
        interpreter.allocate_tensors()
        interpreter.invoke()
    with pytest.raises(RilletError, match="give limits to the Model"):
        model.interpreter(limits={"max_iterations": 5})


def test_defaults_are_those_of_the_library_within_half_of_the_memory() -> None:
    mine, library = complete_limits(None), _binding.library().rlt_default_limits()
    for name, _ in _binding.Limits._fields_:
        if name != "max_bytes":
            assert getattr(mine, name) == getattr(library, name)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert mine.max_bytes == min(library.max_bytes, pages // 2)


def test_memory_that_is_not_there_is_a_status() -> None:
    with pytest.raises(RilletError, match="no 1,152,921,504") as caught:
        _session.aligned_block(2**60)
    assert caught.value.status == "NO_MEMORY"


# ---- stopping ----


@contextlib.contextmanager
def cancelling(interpreter: runtime.Interpreter) -> Iterator[None]:
    """Cancels again and again: on a busy machine the first may come before the invoke does."""
    ended = threading.Event()

    def cancel() -> None:
        while not ended.wait(0.05):
            interpreter.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def control_c() -> Iterator[None]:
    """Python's own handler: what shells start in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_another_thread_cancels() -> None:
    interpreter = runtime.Interpreter(model_content=ENDLESS, limits=NO_LIMITS)
    interpreter.allocate_tensors()
    interpreter.cancel()  # nothing runs
    for _ in range(2):  # the interpreter is usable after
        with cancelling(interpreter), pytest.raises(RilletError, match="cancelled") as caught:
            interpreter.invoke()
        assert caught.value.status == "CANCELLED"


@pytest.mark.usefixtures("control_c")
def test_control_c_stops_an_invoke() -> None:
    interpreter = runtime.Interpreter(model_content=ENDLESS, limits=NO_LIMITS)
    interpreter.allocate_tensors()
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        interpreter.invoke()
    with cancelling(interpreter), pytest.raises(RilletError, match="cancelled"):
        interpreter.invoke()


@pytest.mark.usefixtures("control_c")
def test_control_c_leaves_other_threads_alone() -> None:
    """The main thread gets Python's interrupt; an invoke elsewhere goes on until cancelled."""
    interpreter = runtime.Interpreter(model_content=ENDLESS, limits=NO_LIMITS)
    interpreter.allocate_tensors()
    ended: list[RilletError] = []

    def run() -> None:
        with pytest.raises(RilletError) as caught:
            interpreter.invoke()
        ended.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert not ended
    while thread.is_alive():  # the first may come before the invoke
        interpreter.cancel()
        thread.join(0.05)
    assert ended[0].status == "CANCELLED"


@pytest.mark.usefixtures("control_c")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_node_is_cancelled_in_its_midst(threads: int) -> None:
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((512, 1024), (1024, 1024)))
    model = single_op("FULLY_CONNECTED", [x, Arg(w, const=True)])
    asked = 0

    def second_time(_context) -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    with (
        mock.patch.object(_session, "interrupted", lambda: _binding.Cancel(second_time)),
        mock.patch.object(_session, "ASK_EVERY_NS", 0),
    ):
        interpreter = runtime.Interpreter(model_content=model.content, num_threads=threads)
        interpreter.allocate_tensors()
    interpreter.set_tensor(0, x)
    for _ in range(50):  # the thread that asks may get no part of the node on a busy machine
        asked = 0
        try:
            interpreter.invoke()
        except KeyboardInterrupt as interrupt:
            assert "in its midst" in str(interrupt.__context__)
            break
    else:
        pytest.fail("50 invokes were not interrupted")
    interpreter.invoke()
    wanted = runtime.load(model.content)(x)
    np.testing.assert_array_equal(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), wanted
    )


def test_comparisons_of_boxes_count_as_work() -> None:
    boxes, scores = np.zeros((100, 4), np.float32), np.zeros(100, np.float32)
    thresholds = [Arg(np.float32(0.5), const=True), Arg(np.float32(0.0), const=True)]
    outs = [Out("INT32"), Out("INT32")]
    model = single_op("NON_MAX_SUPPRESSION_V4", [boxes, scores, const(50), *thresholds], outs)
    assert refusal(model.content, max_macs=4999).status == "LIMIT"
    runtime.Interpreter(model_content=model.content, limits={"max_macs": 5000}).allocate_tensors()
