# SPDX-License-Identifier: Apache-2.0
"""Names of a module's results, which may be nested in dictionaries, lists and dataclasses."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree


def output_names(spec: Any, count: int) -> list[str]:
    """A name for each leaf: the key in a dictionary, the field of a class; "output", "output_1"...
    in a tuple. Deeper ones are joined: "states_0".
    """
    plain = ["output" if i == 0 else f"output_{i}" for i in range(count)]
    if spec is None or spec.num_leaves != count:
        return plain
    stand_ins = [torch.zeros(1, 1, 1, 1) for _ in range(count)]  # caches want tensors of four axes
    leaves, _ = _pytree.tree_flatten_with_path(_pytree.tree_unflatten(stand_ins, spec))
    paths = [[_word(key) for key in path] for path, _ in leaves]
    found: list[str] = []
    for place, path in enumerate(paths):
        named = any(not word.isdecimal() for word in path) or len(path) > 1
        name = "_".join(path) if named else plain[place]
        if name[:1].isdecimal():
            name = f"output_{name}"
        while name in found:
            name += "_"
        found.append(name)
    return found


def _word(key: Any) -> str:
    """The readable part of one step of a path."""
    for field in ("key", "idx", "name"):
        if hasattr(key, field):
            return str(getattr(key, field))
    return str(key).strip("[].'\"")
