# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` when the block ends without an exception;
    where one is raised, Ctrl-C too, `path` is as it was and nothing lies beside it.

    Links stay links: what they lead to is replaced. Devices and pipes get the bytes themselves.
    """
    target = Path(os.path.realpath(path))
    if is_special(target):
        with open(target, "wb") as file:
            yield file
        return
    draft = target.with_name(f".rillet-{secrets.token_hex(8)}")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether it is a device, a pipe or a socket, which must not be replaced by a file."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
