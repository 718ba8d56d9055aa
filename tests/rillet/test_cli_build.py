# SPDX-License-Identifier: Apache-2.0
"""`rillet build`: what it refuses, in which words. What it makes is tested beside the runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rillet import errors
from rillet.building import wheel
from rillet.building.objects import by_family, loaded_bytes
from runtime.core import build

pytest_plugins = ("cli_fixtures",)


def test_an_unknown_target_is_wrong_usage(rillet, tmp_path) -> None:
    outcome = rillet("build", "--target", "pdp11", "--out", tmp_path)
    assert outcome.code == errors.USAGE
    assert "invalid choice: 'pdp11'" in outcome.err and "pi-zero" in outcome.err


def test_without_a_compiler_it_says_how_to_get_one(rillet, tmp_path, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.delenv("RILLET_CC", raising=False)
    monkeypatch.setattr(
        build.importlib.util, "find_spec", lambda name: None if name == "ziglang" else find(name)
    )
    outcome = rillet("build", "--target", "pi-arm64", "--out", tmp_path)
    assert outcome.code == errors.MISTAKE and "pip install ziglang" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_wheels_are_made_from_a_checkout_only(rillet, tmp_path, monkeypatch) -> None:
    """An installed rillet has not what hatchling reads."""
    monkeypatch.setattr(wheel, "RUNTIME", tmp_path)
    outcome = rillet("build", "--target", "pi-zero", "--wheel", "--out", tmp_path / "out")
    assert outcome.code == errors.MISTAKE and "run this from a checkout" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_system_compiler_builds_for_this_machine_only(rillet, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RILLET_CC", "gcc")
    outcome = rillet("build", "--target", "wasm32", "--out", tmp_path)
    assert outcome.code == errors.MISTAKE and "unset it to build wasm32" in outcome.err


def test_models_must_be_readable(rillet, tmp_path) -> None:
    for name in ("missing.tflite", "broken.tflite"):
        path = tmp_path / name
        if name == "broken.tflite":
            path.write_bytes(b"nothing of the kind")
        outcome = rillet("build", "--target", "pi-arm64", "--ops", path, "--out", tmp_path / "o")
        assert outcome.code == errors.MISTAKE and name in outcome.err


@pytest.mark.parametrize("target", ["wasm32", "android-arm64", "windows-x64", "macos-arm64"])
def test_not_every_target_has_wheels(rillet, tmp_path, target) -> None:
    outcome = rillet("build", "--target", target, "--wheel", "--out", tmp_path)
    assert outcome.code == errors.MISTAKE and "has no wheels" in outcome.err


def test_a_wheel_is_whole(rillet, dense, tmp_path) -> None:
    outcome = rillet("build", "--target", "pi-zero", "--wheel", "--ops", dense, "--out", tmp_path)
    assert outcome.code == errors.MISTAKE and "leave out --ops" in outcome.err


# What each format's objects look like, from the compiler itself.
@pytest.mark.parametrize(
    "triple", ["x86_64-linux-gnu", "arm-linux-gnueabihf", "aarch64-macos", "x86_64-windows-gnu",
               "wasm32-freestanding"],
)  # fmt: skip
def test_bytes_of_objects(triple, tmp_path: Path) -> None:
    source, out = tmp_path / "kernels_one.c", tmp_path / "kernels_one.o"
    source.write_text("char table[5000] = {1}; int f(int x) { return table[x & 1023]; }\n")
    command = [*build.compiler("x86_64", False)[0], "-target", triple, "-O1", "-g0", "-c"]
    build.run([*command, str(source), "-o", str(out)], build.RUNTIME.parent / "build" / "zig")
    assert 5000 < loaded_bytes(out) < 5400
    assert by_family([out]) == {"one": loaded_bytes(out)}
    with pytest.raises(ValueError, match="no object file"):
        loaded_bytes(source)
