# SPDX-License-Identifier: Apache-2.0
"""Saver: variables to checkpoint files and back, and the `checkpoint` file that lists them."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from host_engine import bundle
from host_engine.errors import InvalidArgumentError, NotFoundError
from host_engine.framework.graph import get_default_graph
from host_engine.variables import Variable, global_variables


@dataclass
class CheckpointState:
    """What the file `checkpoint` says: the latest checkpoint and all that are kept."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str] = field(default_factory=list)


class Saver:
    """Saves and restores variables in TensorFlow's V2 checkpoint format.

    `var_list` is a list of variables or a dict from the names to store to variables; by default
    all global variables. The `max_to_keep` latest checkpoints are kept (None or 0: all).

    Raises ValueError if there are no variables or two have one name, TypeError for others.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        **_: Any,
    ) -> None:
        self._reshape = reshape
        self._max_to_keep = max_to_keep
        self._deferred = defer_build
        self._allow_empty = allow_empty
        self._given = var_list
        self._kept: list[str] = []
        self._suffix = "meta"
        self._variables: dict[str, Variable] = {}
        if not defer_build:
            self.build()

    def build(self) -> None:
        """Fixes the variables to save."""
        given = global_variables() if self._given is None else self._given
        self._variables = named_variables(given)
        if not self._variables and not self._allow_empty:
            raise ValueError("No variables to save")
        self._deferred = False

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints kept, oldest first."""
        return list(self._kept)

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        self._kept = list(last_checkpoints)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Takes over those of `checkpoint_paths` that exist, to delete them in their turn."""
        self._kept = [p for p in checkpoint_paths if checkpoint_exists(p)]

    def save(
        self,
        sess: Any,
        save_path: str,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
    ) -> str:
        """Writes the variables' values and returns the prefix: save_path, or save_path-STEP.

        The graph goes into PREFIX.meta, unless `write_meta_graph` is false.

        Raises ValueError if the directory does not exist, FailedPreconditionError if a variable
        has no value. A failure leaves no partial checkpoint.
        """
        self._check_built()
        save_path = os.fspath(save_path)
        folder = os.path.dirname(save_path)
        if folder and not os.path.isdir(folder):
            raise ValueError(f"Parent directory of {save_path} doesn't exist, can't save.")
        if not os.path.basename(save_path):
            raise ValueError(f"save_path must name a file, got {save_path!r}")
        prefix = save_path
        if global_step is not None:
            number = isinstance(global_step, (int, np.integer))
            step = global_step if number else sess.run(global_step)
            prefix = f"{save_path}-{int(step)}"
        values = sess.run(list(self._variables.values()))
        bundle.write(prefix, dict(zip(self._variables, values, strict=True)))
        if write_meta_graph:
            self._suffix = meta_graph_suffix
            self._write_meta_graph(f"{prefix}.{meta_graph_suffix}")
        if write_state:
            self._remember(prefix, folder, latest_filename)
        return prefix

    def export_meta_graph(self, filename: str | None = None, **_: Any) -> Any:
        """The MetaGraphDef of the variables' graph, also written to `filename` if given."""
        from host_engine.graphdef import metagraph

        graph = next(iter(self._variables.values())).graph if self._variables else None
        made = metagraph.meta_graph_of(
            graph or get_default_graph(), self._variables, self._max_to_keep or 0
        )
        if filename is not None:
            metagraph.write_meta_graph(filename, made)
        return made

    def _write_meta_graph(self, path: str) -> None:
        try:
            self.export_meta_graph(path)
        except (
            ValueError
        ) as error:  # an op that TensorFlow lacks: the variables are saved all the same
            warnings.warn(f"{path} is not written: {error}", stacklevel=3)

    def _remember(self, prefix: str, folder: str, latest_filename: str | None) -> None:
        self._kept = [p for p in self._kept if p != prefix] + [prefix]
        dropped: list[str] = []
        if self._max_to_keep:
            dropped, self._kept = (
                self._kept[: -self._max_to_keep],
                self._kept[-self._max_to_keep :],
            )
        update_checkpoint_state(folder, prefix, self._kept, latest_filename)
        for old in dropped:
            escaped = glob.escape(old)
            ends = [f"{old}.index", f"{old}.{self._suffix}"]
            for path in [*ends, *glob.glob(f"{escaped}.data-*")]:
                if os.path.exists(path):
                    os.remove(path)

    def restore(self, sess: Any, save_path: str) -> None:
        """Sets the variables from a checkpoint; they need no initialization.

        Raises ValueError if `save_path` is no checkpoint, NotFoundError if a variable is missing
        in it, InvalidArgumentError if one has another shape or type; nothing is set then.
        """
        self._check_built()
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        save_path = os.fspath(save_path)
        if not checkpoint_exists(save_path):
            raise ValueError(f"The passed save_path is not a valid checkpoint: {save_path}")
        reader = bundle.Reader(save_path)
        values = {v: self._fitting(reader, name, v) for name, v in self._variables.items()}
        for variable, value in values.items():
            variable.load(value, sess)

    def _fitting(self, reader: bundle.Reader, name: str, variable: Variable) -> np.ndarray:
        value = reader.read(name)
        if value.dtype != variable.dtype.as_numpy_dtype:
            raise InvalidArgumentError(
                None,
                variable.op,
                f"tensor_name = {name}; expected dtype {variable.dtype.name} does not equal "
                f"original dtype {value.dtype}",
            )
        if variable.shape.is_compatible_with(value.shape):
            return value
        wanted = variable.shape.as_list()
        if self._reshape and value.size == variable.shape.num_elements():
            return value.reshape([int(s or 0) for s in wanted])
        raise InvalidArgumentError(
            None,
            variable.op,
            "Assign requires shapes of both tensors to match. lhs shape= "
            f"{_bracketed(wanted)} rhs shape= {_bracketed(value.shape)}",
        )

    def _check_built(self) -> None:
        if self._deferred:
            raise RuntimeError("`build()` should be called before save if defer_build==True")


def _bracketed(sizes: Any) -> str:
    return "[" + ",".join(map(str, sizes)) + "]"


def named_variables(given: Any) -> dict[str, Variable]:
    pairs = given.items() if isinstance(given, Mapping) else [(None, v) for v in given]
    named: dict[str, Variable] = {}
    for name, variable in pairs:
        if not isinstance(variable, Variable):
            raise TypeError(f"Variable to save is not a Variable: {variable}")
        key = variable.op.name if name is None else name
        if key in named:
            raise ValueError(f"At least two variables have the same name: {key}")
        named[key] = variable
    return named


# The checkpoint state file


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
) -> None:
    """Writes the file that names the latest checkpoint of `save_dir`.

    Paths are relative to `save_dir` unless that is absolute, so that a folder can be moved.
    """
    kept = list(all_model_checkpoint_paths or [])
    if model_checkpoint_path not in kept:
        kept.append(model_checkpoint_path)
    if not os.path.isabs(save_dir):
        base = save_dir or "."
        kept = [os.path.relpath(p, base) for p in kept]
        model_checkpoint_path = os.path.relpath(model_checkpoint_path, base)
    lines = [f'model_checkpoint_path: "{_escaped(model_checkpoint_path)}"']
    lines += [f'all_model_checkpoint_paths: "{_escaped(p)}"' for p in kept]
    path = os.path.join(save_dir, latest_filename or "checkpoint")
    bundle.write_text(path, "\n".join(lines) + "\n")


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"')


def get_checkpoint_state(
    checkpoint_dir: str, latest_filename: str | None = None
) -> CheckpointState | None:
    """What the state file of a folder says, with full paths; None if there is none."""
    path = os.path.join(checkpoint_dir, latest_filename or "checkpoint")
    if not os.path.isfile(path):
        return None
    state = CheckpointState("")
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, _, quoted = line.strip().partition(": ")
            if key not in ("model_checkpoint_path", "all_model_checkpoint_paths"):
                continue
            text = quoted[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            full = text if os.path.isabs(text) else os.path.join(checkpoint_dir, text)
            if key == "model_checkpoint_path":
                state.model_checkpoint_path = full
            else:
                state.all_model_checkpoint_paths.append(full)
    return state if state.model_checkpoint_path else None


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """The prefix of the latest checkpoint in a folder, or None."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is a checkpoint with this prefix."""
    return os.path.isfile(f"{checkpoint_prefix}.index")


# Reading without a graph


class CheckpointReader:
    """A checkpoint's tensors by name."""

    def __init__(self, prefix: str) -> None:
        self._bundle = bundle.Reader(prefix)

    def has_tensor(self, name: str) -> bool:
        return name in self._bundle.entries

    def get_tensor(self, name: str) -> np.ndarray:
        """The value; NotFoundError if there is none of that name."""
        return self._bundle.read(name)

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        return {name: list(entry.shape) for name, entry in self._bundle.entries.items()}

    def get_variable_to_dtype_map(self) -> dict[str, Any]:
        return {name: entry.dtype for name, entry in self._bundle.entries.items()}


def load_checkpoint(ckpt_dir_or_file: str) -> CheckpointReader:
    """A reader of a checkpoint, or of the latest in a folder; NotFoundError if there is none."""
    prefix: str | None = ckpt_dir_or_file
    if os.path.isdir(ckpt_dir_or_file):
        prefix = latest_checkpoint(ckpt_dir_or_file)
    if prefix is None:
        raise NotFoundError(None, None, f"Couldn't find a checkpoint in {ckpt_dir_or_file}")
    return CheckpointReader(prefix)


def load_variable(ckpt_dir_or_file: str, name: str) -> np.ndarray:
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """(name, shape) of every tensor of a checkpoint."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())
