# SPDX-License-Identifier: Apache-2.0
"""Careless and hostile use of the command line: one sentence, the right exit code, nothing left."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli_models import dense_model, written
from onnx_models import small_network

from converter import output_files
from rillet import errors

pytest_plugins = ("cli_fixtures",)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(small_network(), str(path))
    return path


@pytest.fixture
def full(tmp_path):
    """A device that takes no byte, as /dev/full, which a failing test must not replace."""
    path = tmp_path / "full"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        path.write_bytes(b"")  # which fails where devices cannot be opened
    except OSError:  # only root makes devices
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")
    return path


def test_a_full_device_is_said_and_stays_a_device(rillet, net, dense, full):
    for argv in (
        ["convert", net, "-o", full],
        ["run", dense, "--random", "-o", full],
        ["inspect", dense, "--html", full],
    ):
        outcome = rillet(*argv, "--json")
        assert outcome.code == errors.MISTAKE and "No space left" in outcome.err
        assert outcome.json["exit_code"] == errors.MISTAKE
        assert stat.S_ISCHR(os.stat(full).st_mode)
    assert sorted(p.name for p in full.parent.iterdir()) == ["dense.tflite", "full", "net.onnx"]


def test_what_a_link_leads_to_is_written(rillet, net, tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.tflite"
    link.symlink_to(tmp_path / "there" / "net.tflite")
    assert rillet("convert", net, "-o", link).code == errors.OK
    assert link.is_symlink() and (tmp_path / "there" / "net.tflite").read_bytes()[4:8] == b"TFL3"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_what_ends_a_write_leaves_nothing(tmp_path, error):
    path = tmp_path / "out.bin"
    path.write_bytes(b"before")
    with pytest.raises(error), output_files.whole_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["out.bin"]


def test_a_name_as_long_as_names_may_be(rillet, net, tmp_path):
    name = "n" * 248 + ".tflite"
    assert rillet("convert", net, "-o", tmp_path / name).code == errors.OK
    outcome = rillet("convert", net, "-o", tmp_path / f"{name}x")
    assert outcome.code == errors.MISTAKE and "File name too long" in outcome.err


@pytest.mark.parametrize("command", ["inspect", "convert", "run", "quantize", "bench"])
def test_devices_and_pipes_are_no_models(rillet, tmp_path, command):
    more = {"convert": ["-o", tmp_path / "o"], "run": ["--random"]}
    more["quantize"] = [*more["convert"], "--recipe", "float16"]
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        outcome = rillet(command, path, *more.get(command, []))
        assert outcome.code == errors.MISTAKE and "it is a device or a pipe" in outcome.err


def test_ctrl_c_gives_a_sentence_and_no_file(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import time\ndef f():\n    print('here', flush=True)\n    time.sleep(60)\n")
    argv = [sys.executable, "-m", "rillet", "convert", f"{script}:f", "-o", "o.tflite", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells' background jobs ignore it
    try:
        process = subprocess.Popen(argv, cwd=tmp_path, env=env, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == errors.INTERRUPTED and err.startswith("rillet: interrupted")
    assert json.loads(out)["exit_code"] == errors.INTERRUPTED
    assert not (tmp_path / "o.tflite").exists()


def test_standard_output_that_is_full_or_closed(dense):
    call = f"exec {sys.executable} -m rillet inspect {dense}"
    for end, code, words in (
        ("> /dev/full", errors.MISTAKE, "rillet: No space left on device\n"),
        (">&-", errors.OK, ""),
    ):
        done = subprocess.run(
            ["sh", "-c", f"{call} {end}"], cwd=ROOT, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (code, words)


def test_wrong_usage_is_json_too(rillet, net):
    for argv, words in (
        (["convert", net], "the following arguments are required: -o/--output"),
        (["convert", net, "-o", "o", "--tolerance", "nan"], "is not finite"),
        (["convert", net, "-o", "o", "--tolerance", "-1"], "is not a number from 0"),
        (["convert", net, "-o", "o", "--std", "nan"], "is not finite"),
        (["run", "m", "--random", "--seed", "-1"], "-1 is negative"),
        (["bench", "m", "--threads", "many"], "'many' is not a whole number"),
        (["bench", "m", "--threads", "9" * 30], "is too large"),
    ):
        outcome = rillet(*argv, "--json")
        assert outcome.code == errors.USAGE and words in outcome.err
        assert outcome.json["exit_code"] == errors.USAGE and words in outcome.json["error"]


def test_settings_that_are_no_numbers_of_a_model(rillet, net, dense, tmp_path):
    np.savez(tmp_path / "none.npz")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    recipe = ["quantize", dense, "-o", tmp_path / "o", "--recipe-file", tmp_path / "deep.json"]
    static = ["quantize", dense, "-o", tmp_path / "o", "--recipe", "static-int8"]
    for argv, words in (
        (["check", net, "--input", f"x={1 << 31},3,8,8"], "each below 2^31"),
        (["check", net, "--constant", f"x={'9' * 400}"], "does not fit its type"),
        (recipe, "the recipe is not JSON"),
        ([*static, "--calibrate", tmp_path / "none.npz"], "holds no arrays"),
        (["inspect", dense, "--html", ""], "has no name"),
    ):
        outcome = rillet(*argv)
        assert outcome.code == errors.MISTAKE and words in outcome.err, outcome.err


def test_more_memory_than_there_is(rillet, dense, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(4, np.float32))
    shape = b"'shape': (4,), }"
    content = path.read_bytes()
    start = content.index(shape)
    huge = b"'shape': (1%s,), }" % (b"0" * 15)
    path.write_bytes(content.replace(shape + b" " * (len(huge) - len(shape)), huge))
    assert path.read_bytes()[start:].startswith(huge)
    outcome = rillet("run", dense, path)
    assert outcome.code == errors.MISTAKE and "more memory than there is" in outcome.err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit(0)", "line 1: SystemExit: 0"),
        ("raise BaseException('why')", "line 1: BaseException: why"),
        ("return 1, 2, 3", "returned (int, int, int); it must return (session, [inputs]"),
        ("return bytearray(1 << 60)", "line 1: MemoryError"),
    ],
)
def test_scripts_that_end_or_give_something_else(rillet, tmp_path, body, words):
    script = tmp_path / "s.py"
    script.write_text(f"def f(): {body}\n")
    outcome = rillet("convert", f"{script}:f", "-o", tmp_path / "o.tflite")
    assert outcome.code == errors.MISTAKE and words in outcome.err


def test_a_session_whose_ends_are_named_twice(rillet, tmp_path):
    script = tmp_path / "s.py"
    script.write_text(
        "import host_engine as tf\n"
        "def f():\n"
        "    with tf.Graph().as_default() as graph:\n"
        "        x = tf.placeholder(tf.float32, [2], name='x')\n"
        "        y = tf.exp(x, name='y')\n"
        "    return tf.Session(graph=graph), [x, x], [y, y]\n"
        "def one():\n"
        "    session, (x, _), (y, _) = f()\n"
        "    return session, x, y\n"
    )
    assert rillet("convert", f"{script}:f", "-o", tmp_path / "o.tflite").code == errors.OK
    outcome = rillet("check", f"{script}:one")
    assert outcome.code == errors.MISTAKE and "(Session, Tensor, Tensor); it must" in outcome.err


@pytest.mark.parametrize("command", ["convert", "run", "bench"])
def test_inputs_larger_than_the_runtime_takes(rillet, tmp_path, command):
    model = dense_model()
    model.main.inputs[0].shape = ((1 << 30), 4)
    model.main.outputs[0].shape = ((1 << 30), 3)
    path = written(model, tmp_path / "large.tflite")
    more = {"convert": ["-o", tmp_path / "o"], "run": ["--random"]}.get(command, [])
    tracemalloc.start()
    outcome = rillet(command, path, *more)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.code == errors.MISTAKE and "of shape [1073741824, 4] takes more" in outcome.err
    assert peak < 50_000_000
