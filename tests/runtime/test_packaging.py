# SPDX-License-Identifier: Apache-2.0
"""The wheels: built, installed in a clean environment, and run from another folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import runtime_models as models

import runtime
from runtime import _binding

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, **kwargs) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(project: Path, out: Path) -> Path:
    """Copies what git knows of the project, so that nothing built in the tree helps, and builds."""
    copy = out / "source"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=project)
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (project / name).exists():
            shutil.copyfile(project / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    # The compiler's own cache (its C library stubs) is shared; objects of the runtime are not.
    env = {"ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig"), **os.environ}
    run(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", out, copy, env=env)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of rillet-runtime."""
    return build_wheel(ROOT / "runtime", tmp_path_factory.mktemp("wheel"))


def test_the_device_wheel_holds_the_package_and_the_library_only(wheel):
    files = zipfile.ZipFile(wheel).namelist()
    package = {f.removeprefix("runtime/") for f in files if f.startswith("runtime/")}
    sources = {path.name for path in (ROOT / "runtime").glob("*.py")} - {"hatch_build.py"}
    assert package == sources | {"_lib/librillet.so", "include/rillet.h"}
    assert re.search(r"-py3-none-(manylinux_2_\d+|linux)_\w+\.whl$", wheel.name)
    (metadata,) = (f for f in files if f.endswith("METADATA"))
    requires = re.findall(
        r"^Requires-Dist: (\w+)", zipfile.ZipFile(wheel).read(metadata).decode(), re.M
    )
    assert requires == ["numpy"]


def test_the_device_wheel_runs_in_a_clean_environment(wheel, tmp_path):
    """With NumPy, and nothing else of this environment, on the path."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", wheel)
    beside = tmp_path / "numpy_only"
    beside.mkdir()
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).exists():
            (beside / name).symlink_to(packages / name)
    content, x = models.dense_stack((4, 8, 3)), np.arange(4, dtype=np.float32)[None]
    (tmp_path / "m.tflite").write_bytes(content)
    script = (
        "import numpy as np, runtime;"
        "y = runtime.load('m.tflite')(np.arange(4, dtype=np.float32)[None]);"
        "print(runtime.__file__); print(y.tobytes().hex())"
    )
    env = {"PYTHONPATH": str(beside), "PATH": os.environ["PATH"]}
    where, result = run(python, "-c", script, cwd=tmp_path, env=env).split()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert result == runtime.load(content)(x).tobytes().hex()


def test_the_device_distribution_has_the_same_licence():
    assert (ROOT / "runtime/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert not (ROOT / "runtime/LICENSE").is_symlink(), "it would dangle in the source archive"


def test_versions_agree():
    header = (ROOT / "runtime/include/rillet.h").read_text()
    stated = re.search(r'#define RLT_VERSION "(.*)"', header)[1]
    for project in ("pyproject.toml", "runtime/pyproject.toml"):
        assert f'\nversion = "{stated}"\n' in (ROOT / project).read_text()
    assert _binding.VERSION == runtime.__version__ == stated


@pytest.mark.slow
def test_the_whole_wheel_builds(tmp_path):
    wheel = build_wheel(ROOT, tmp_path)
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {"runtime/_lib/librillet.so", "converter/schema.py", "rillet/cli.py"} <= files
    assert {"runtime/core/build.py", "runtime/core/model.c"} <= files, "rillet build needs sources"
    parts = {f"rillet/page/{path.name}" for path in (ROOT / "rillet/page").glob("*.*")}
    assert len(parts) > 8 and parts <= files, "rillet inspect --html needs the page's parts"
    assert not any(f.startswith(("tests/", "benchmarks/", "docs/")) for f in files)
