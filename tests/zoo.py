# SPDX-License-Identifier: Apache-2.0
"""Public models and data beside the repository: used when present, never needed."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def zoo_folder() -> Path | None:
    """Folder of public models and data beside the repository, or None where there is none."""
    folder = Path(os.environ.get("RILLET_ZOO", ROOT.parent / "shared"))
    return folder if (folder / "models").is_dir() else None


def zoo_files(pattern: str) -> list[Path]:
    """Files of the zoo that match a glob, sorted; empty where the zoo is absent."""
    folder = zoo_folder()
    return sorted(folder.glob(pattern)) if folder else []
