# SPDX-License-Identifier: Apache-2.0
"""The thread pool: every tile runs once, without races; the same bits on any number of threads,
after a fork, and from many callers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import runtime_models as models

import runtime
from runtime.core.build import compiler, host_target
from runtime.core.build import run as link

ROOT = Path(__file__).resolve().parents[2]
DRIVER = [Path(__file__).with_name("pool_driver.c"), ROOT / "runtime/platform/posix.c"]


@pytest.fixture(scope="module")
def wide() -> bytes:
    """Enough work per layer to be cut into tiles and shared."""
    return models.dense_stack((300, 512, 512, 10), batch=64)


def invoke(model: bytes, threads: int, times: int = 1) -> np.ndarray:
    interpreter = runtime.Interpreter(model_content=model, num_threads=threads)
    x = np.random.default_rng(7).standard_normal((64, 300)).astype(np.float32)
    for _ in range(times):
        y = interpreter(x)
    return y


@pytest.mark.parametrize("threads", [2, 3, 4, 16])
def test_threads_do_not_change_a_bit(wide, threads):
    expected = invoke(wide, 1)
    assert np.ptp(expected) > 0
    for _ in range(5):
        np.testing.assert_array_equal(invoke(wide, threads, times=20), expected)


def test_interpreters_in_many_threads(wide):
    expected, results = invoke(wide, 1), []
    callers = [
        threading.Thread(target=lambda: results.append(invoke(wide, 2, times=10))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_one_interpreter_refuses_a_second_thread(wide):
    interpreter = runtime.Interpreter(model_content=wide, num_threads=2)
    interpreter.allocate_tensors()
    stop, statuses = threading.Event(), set()

    def enter() -> None:
        while not stop.is_set():
            try:
                interpreter.invoke()
                statuses.add("OK")
            except runtime.RilletError as error:
                statuses.add(error.status)

    callers = [threading.Thread(target=enter) for _ in range(2)]
    for caller in callers:
        caller.start()
    stop.wait(1)
    stop.set()
    for caller in callers:
        caller.join()
    assert statuses == {"OK", "BUSY"}


FORK = """
import os, sys
sys.path[:0] = {paths!r}
import numpy as np, runtime, runtime_models
model = runtime_models.dense_stack((300, 512, 512, 10), batch=64)
x = np.ones((64, 300), np.float32)
interpreter = runtime.Interpreter(model_content=model, num_threads=4)
before = interpreter(x)
child = os.fork()
if child == 0:
    same = all((interpreter(x) == before).all() for _ in range(20))
    other = runtime.Interpreter(model_content=model, num_threads=2)
    os._exit(0 if same and (other(x) == before).all() else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (interpreter(x) == before).all()
del interpreter
print("done")
"""


def test_the_pool_survives_a_fork():
    script = FORK.format(paths=[str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "done", done.stderr


@pytest.fixture(scope="module", params=["plain", "thread"])
def pool_driver(request, tmp_path_factory) -> Path:
    """pool_driver.c with the pool, as it is and under gcc's thread sanitizer."""
    out = tmp_path_factory.mktemp(request.param) / "pool_driver"
    flags = ["-std=c11", "-O1", "-g", f"-I{ROOT / 'runtime/include'}"]
    if request.param == "thread":
        if not shutil.which("gcc"):
            pytest.skip("needs gcc and its sanitizers")
        command, flags = ["gcc"], [*flags, "-fsanitize=thread"]
    else:
        command, more = compiler(host_target(), False)
        flags += more
    link([*command, *flags, *map(str, DRIVER), "-lpthread", "-o", str(out)], ROOT / "build/zig")
    return out


@pytest.mark.parametrize("threads", ["2", "3", "16"])
def test_every_tile_runs_once_without_races(pool_driver, threads):
    done = subprocess.run([pool_driver, threads], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "done", done.stdout + done.stderr[:4000]
    assert done.returncode == 0
