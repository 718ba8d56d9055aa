# SPDX-License-Identifier: Apache-2.0
"""The reader of custom operators' options against the format's own writer, and on damaged bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from flatbuffers import flexbuffers
from sanitized_program import compiled


@pytest.fixture(scope="module")
def driver() -> Path:
    return compiled("flex_driver")


def write(path: Path, values: dict[str, Any]) -> Path:
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            if isinstance(value, tuple):
                builder.TypedVectorFromElements(key, list(value))
            elif isinstance(value, list):
                builder.VectorFromElements(key, value)
            else:
                builder.Add(key, value)
    path.write_bytes(bytes(builder.Finish()))
    return path


def read(driver: Path, path: Path, *keys: str) -> dict[str, list[str]]:
    done = subprocess.run([driver, path, *keys], capture_output=True, text=True, check=True)
    rows = [line.split(" ", 6) for line in done.stdout.splitlines()]
    return {row[0]: row[1:] for row in rows}


VALUES = {
    "small": 7,
    "negative": -300,
    "large": 2**40 + 1,
    "half": 0.5,
    "double": 0.1,
    "yes": True,
    "text": "words",
    "ints": [1, 2, 70000],
    "typed": (0.25, 0.5, 1.5),
    "empty": [],
}


def test_every_kind_of_value(driver, tmp_path):
    found = read(driver, write(tmp_path / "map", VALUES), *VALUES, "missing")
    assert found["small"] == ["1", "7", "7", "1", "[]", "-"]
    assert found["negative"][:3] == ["1", "-300", "-300"]
    assert found["large"][1] == str(2**40 + 1)
    assert found["half"][:4] == ["1", "0", "0.5", "0"]
    assert found["double"][2] == "0.1"
    assert found["yes"][1:4] == ["1", "1", "1"]
    assert found["text"][4:] == ["[]", "words"]
    assert found["ints"][4] == "[1,2,70000]"
    assert found["typed"][4] == "[0.25,0.5,1.5]"
    assert found["empty"][4] == "[]"
    assert found["missing"] == ["0", "-1", "-1", "0", "[]", "-"]


def test_a_long_map_has_wide_offsets(driver, tmp_path):
    values: dict[str, Any] = {"padding": "x" * 300, **{f"k{i}": i for i in range(40)}}
    found = read(driver, write(tmp_path / "map", values), *values)
    assert [found[f"k{i}"][1] for i in range(40)] == [str(i) for i in range(40)]


def test_damaged_bytes_are_read_inside_their_bounds(driver, tmp_path):
    path = write(tmp_path / "map", VALUES)
    subprocess.run([driver, path, "--damage", *VALUES, "missing"], check=True)


def test_bytes_that_are_no_map_have_no_keys(driver, tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b"\x00\x01\x03")
    done = subprocess.run([driver, path, "any"], capture_output=True, text=True, check=True)
    assert done.stdout == "broken\n"
