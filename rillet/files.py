# SPDX-License-Identifier: Apache-2.0
"""Reading models and writing results so that nothing half-written is ever left behind."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from converter.output_files import is_special, whole_file
from rillet.errors import CommandError


def read_bytes(path: str) -> bytes:
    """The file's content. CommandError if there is no such file or it cannot be read."""
    if is_special(path):  # it may have no end, and a model is read more than once
        raise CommandError(f"cannot read {path}: it is a device or a pipe; save it to a file first")
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}") from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except MemoryError:
        raise CommandError(f"cannot read {path}: it is larger than the memory") from None


def read_text(path: str) -> str:
    """The file as UTF-8 text. CommandError if it is something else."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not a text file: {error}") from None


def check_writable(path: str) -> None:
    """CommandError if `path` obviously cannot be written; asked before the work, not after."""
    target = Path(os.path.realpath(path))
    if not path:
        raise CommandError("the file to write has no name: give one, such as -o net.tflite")
    if target.is_dir():
        raise CommandError(f"cannot write {path}: it is a folder; name a file in it")
    folder = target.parent
    if not folder.is_dir():
        raise CommandError(f"cannot write {path}: there is no folder {folder}")
    if is_special(target):
        return
    if not os.access(folder, os.W_OK):
        raise CommandError(f"cannot write {path}: the folder {folder} does not allow it")


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz of `arrays`, whatever their names (np.savez cannot take one called "file")."""

    def fill(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)

    write_atomically(path, fill)


def write_atomically(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill what becomes the file `path`. CommandError if that fails."""
    check_writable(path)
    try:
        with whole_file(path) as file:
            write(file)
    except OSError as error:
        raise CommandError(
            f"cannot write {path}: {error.strerror}; choose another place or make room"
        ) from None
