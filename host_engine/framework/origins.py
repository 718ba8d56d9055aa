# SPDX-License-Identifier: Apache-2.0
"""Where an operation comes from: the user's frames, and the device it was given to."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from host_engine.framework.tensor import Frame

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_USER_FRAMES = 8


def user_frames() -> tuple[Frame, ...]:
    """The frames outside this package that led here, innermost first (at most a few)."""
    frames: list[Frame] = []
    frame = sys._getframe(1)
    while frame is not None and len(frames) < _USER_FRAMES:
        code = frame.f_code
        inside = code.co_filename.startswith(_PACKAGE)
        if not inside and (frames or not code.co_filename.endswith("contextlib.py")):
            frames.append((code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(frames)


def canonical_device(name: str) -> str:
    """ "/gpu:0" as "/device:GPU:0"; job, replica and task parts stay."""
    return re.sub(
        r"/(?:device:)?(cpu|gpu):(\d+|\*)",
        lambda m: f"/device:{m[1].upper()}:{m[2]}",
        name,
        flags=re.IGNORECASE,
    )
