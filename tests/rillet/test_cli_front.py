# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole: help, exit codes, and errors that every command shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_models import dense_model, written

import converter
from rillet import errors
from rillet.cli import main

pytest_plugins = ("cli_fixtures",)
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["convert", "quantize", "run", "bench", "inspect"]
MODEL_COMMANDS = {
    "convert": ["-o", "{out}"],
    "quantize": ["-o", "{out}", "--recipe", "float16"],
    "run": ["--random"],
    "bench": ["--runs", "1"],
    "inspect": [],
}


def process(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_help_names_the_commands_and_the_exit_codes() -> None:
    done = process(sys.executable, "-m", "rillet", "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert (
        all(name in done.stdout for name in [*COMMANDS, "build"]) and "exit codes:" in done.stdout
    )


@pytest.mark.parametrize("command", [*COMMANDS, "build"])
def test_every_command_shows_an_example_of_itself(command: str, capsys) -> None:
    assert main([command, "--help"]) == errors.OK
    text = capsys.readouterr().out
    assert f"\n  rillet {command} " in text and "exit codes:" in text and "--json" in text


def test_help_loads_no_package_of_weight() -> None:
    code = (
        "import sys; from rillet.cli import main; main(['quantize', '--help']);"
        "print(sorted({'numpy', 'converter', 'quantize', 'runtime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["explode"],
        ["run"],
        ["run", "m.tflite"],
        ["run", "m", "--random", "--top", "0"],
        ["quantize", "m", "-o", "o", "--recipe", "int3"],
        ["bench", "m", "--runs", "many"],
    ],
)
def test_wrong_usage(argv: list[str], capsys) -> None:
    assert main(argv) == errors.USAGE
    assert "usage: rillet" in capsys.readouterr().err


def arguments(command: str, model: object, tmp_path: Path) -> list[str]:
    extra = [part.format(out=tmp_path / "out.tflite") for part in MODEL_COMMANDS[command]]
    return [command, str(model), *extra]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_files_get_a_sentence(command: str, as_json: bool, rillet, tmp_path: Path) -> None:
    good = converter.write_tflite(dense_model())
    files = {
        "no model": b"PK\x03\x04 this is something else, and long enough to be a file",
        "empty": b"",
        "cut short": good[: len(good) // 2],
        "a folder": None,
        "missing": None,
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.tflite"
        if content is not None:
            path.write_bytes(content)
        elif name == "a folder":
            path.mkdir(exist_ok=True)
        outcome = rillet(*arguments(command, path, tmp_path), *(["--json"] if as_json else []))
        assert outcome.code == errors.MISTAKE, name
        assert outcome.err.startswith("rillet: ") and path.name in outcome.err
        assert len(outcome.err.splitlines()) == 1
        if as_json:
            assert outcome.json["exit_code"] == errors.MISTAKE
            assert outcome.json["error"] in outcome.err
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_op_is_unsupported(command: str, rillet, tmp_path: Path) -> None:
    model = dense_model()
    node = model.main.nodes[0]
    node.op, node.custom_code = "CUSTOM", "Teleport"
    path = tmp_path / "custom.tflite"
    converter.write_tflite(model, path)
    outcome = rillet(*arguments(command, path, tmp_path))
    if command in ("run", "bench"):
        assert outcome.code == errors.UNSUPPORTED and "Teleport" in outcome.err
    elif command == "inspect":
        assert outcome.code == errors.OK
        assert "does not run here: UNSUPPORTED" in outcome.out and "Teleport" in outcome.out


@pytest.mark.parametrize("command", ["convert", "quantize"])
def test_outputs_that_cannot_be_written(command: str, rillet, tmp_path: Path) -> None:
    source = written(dense_model(64, 32), tmp_path / "wide.tflite")
    extra = ["--recipe", "float16"] if command == "quantize" else []
    (tmp_path / "taken").mkdir()
    for target, sentence in [
        (tmp_path / "absent" / "o.tflite", "there is no folder"),
        (tmp_path / "taken", "it is a folder"),
        (Path("/proc/o.tflite"), "cannot be written"),
    ]:
        outcome = rillet(command, source, "-o", target, *extra)
        assert outcome.code == errors.MISTAKE and sentence in outcome.err


def test_an_error_of_ours_is_called_internal(rillet, dense: str, monkeypatch) -> None:
    import rillet.commands.inspect as command

    def broken(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(command, "run", broken)
    outcome = rillet("inspect", dense)
    assert outcome.code == errors.INTERNAL
    assert "internal error: ZeroDivisionError: division by zero" in outcome.err
    assert "RILLET_DEBUG=1" in outcome.err


def test_debug_shows_the_traceback(dense: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RILLET_DEBUG", "1")
    assert main(["inspect", "/nowhere.tflite"]) == errors.MISTAKE
    assert "Traceback" in capsys.readouterr().err


def test_interruption(rillet, dense: str, monkeypatch) -> None:
    import rillet.commands.inspect as command

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    assert rillet("inspect", dense).code == errors.INTERRUPTED


def test_a_reader_that_goes_away_is_no_error(dense: str) -> None:
    script = (
        f"{sys.executable} -m rillet inspect {dense} --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.endswith("0\n") and done.stderr == ""
