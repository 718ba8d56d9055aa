# SPDX-License-Identifier: Apache-2.0
"""runtime/core/build.py: what it compiles, what it leaves alone, and how it fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def builder():
    """build.py as a module of its own, so that tests may change it."""
    spec = importlib.util.spec_from_file_location("core_build", ROOT / "runtime/core/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGETS = ["x86_64", "aarch64", "armv7", "armv6", "wasm32"]
TARGETS += ["android-arm64", "macos-arm64", "windows-x64"]


@pytest.mark.parametrize("target", TARGETS)
def test_sources_are_common_ones_and_the_target_s_own_loops(builder, target):
    files = [str(path.relative_to(ROOT / "runtime")) for path in builder.sources(target)]
    assert {"core/model.c", "simd/scalar.c"} <= set(files)
    assert ("platform/posix.c" in files) == (target != "wasm32")
    assert len(set(files)) == len(files)
    overlays = {w for f in files if f.startswith("simd/") for w in Path(f).stem.split("_")}
    assert overlays & set(builder.ISA_FLAGS) <= set(builder.TARGETS[target].isas)
    assert set(builder.TARGETS[target].isas) <= overlays


def test_every_target_is_tested(builder):
    assert set(TARGETS) == set(builder.TARGETS)


def test_an_unchanged_build_compiles_nothing(builder, tmp_path, monkeypatch):
    out, commands = tmp_path / "librillet.so", []
    builder.build(None, out)
    first, run = out.read_bytes(), builder.run
    monkeypatch.setattr(builder, "run", lambda c, cache: (commands.append(c), run(c, cache)))
    builder.build(None, out)
    assert out.read_bytes() == first
    assert [c for c in commands if "-c" in c] == [] and len(commands) == 1


def test_a_failing_build_names_the_error_and_leaves_the_old_library(builder, tmp_path):
    broken, out = tmp_path / "broken.c", tmp_path / "program"
    broken.write_text("int main(void) { return undeclared_name; }\n")
    out.write_bytes(b"old")
    with pytest.raises(builder.BuildError, match=r"broken\.c:1.*undeclared_name"):
        builder.build(None, out, program=broken)
    assert out.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"broken.c", "program"}


def test_without_a_compiler_it_says_what_to_install(builder, monkeypatch):
    monkeypatch.delenv("RILLET_CC", raising=False)
    monkeypatch.setattr(builder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(builder.BuildError, match=r"pip install ziglang.*or set RILLET_CC=gcc"):
        builder.compiler(builder.host_target(), False)


def test_a_system_compiler_builds_for_this_machine_only(builder, monkeypatch):
    monkeypatch.setenv("RILLET_CC", "cc -m64")
    host = builder.host_target()
    assert builder.compiler(host, False)[0] == ["cc", "-m64"]
    other = next(name for name in builder.TARGETS if name != host)
    with pytest.raises(builder.BuildError, match=f"builds for {host} only"):
        builder.compiler(other, False)


def test_an_unknown_machine_is_named(builder, monkeypatch):
    monkeypatch.setattr(builder.platform, "machine", lambda: "pdp11")
    with pytest.raises(builder.BuildError, match="no build target for a pdp11 machine; known"):
        builder.host_target()


def test_wheel_tags(builder):
    machines = {n: builder.wheel_machine(n) for n, row in builder.TARGETS.items() if row.wheel}
    same = {"x86_64": "x86_64", "aarch64": "aarch64"}
    assert machines == {**same, "armv7": "armv7l", "armv6": "armv6l"}
    with pytest.raises(builder.BuildError, match="wasm32 has no Python"):
        builder.wheel_machine("wasm32")


def test_a_static_program_is_linked_with_musl(builder):
    wanted = {"x86_64": "x86_64-linux-musl", "aarch64": "aarch64-linux-musl"}
    wanted |= {"armv7": "arm-linux-musleabihf", "armv6": "arm-linux-musleabihf"}
    for target, triple in wanted.items():
        flags = builder.compiler(target, False, static=True)[1]
        assert flags[flags.index("-target") + 1] == triple and "-static" in flags


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_public_header_stands_alone(builder, tmp_path, language):
    source = tmp_path / "user.c"
    source.write_text('#include "rillet.h"\nint main(void) { return RLT_OK; }\n')
    command, flags = builder.compiler(builder.host_target(), False)
    flags = [*flags, "-x", language, "-ffreestanding", "-Wall", "-Wextra", "-Werror"]
    target = ["-c", str(source), "-o", str(tmp_path / "user.o")]
    include = f"-I{ROOT / 'runtime/include'}"
    builder.run([*command, *flags, include, *target], ROOT / "build/zig")


def test_objects_that_another_build_takes_away_do_no_harm(builder, tmp_path):
    """What is listed may be gone, or have its name, when it is looked at."""
    (tmp_path / "core_model.0123456789abcdef.1.part.o").symlink_to(tmp_path / "gone")
    assert builder.compile_objects([], ["cc"], tmp_path, lambda source: []) == []
