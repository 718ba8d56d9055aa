# SPDX-License-Identifier: Apache-2.0
"""A signature of a model as a callable: inputs by name, outputs by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _strings
from ._session import Session
from .errors import RilletError


class SignatureRunner:
    """What Interpreter.get_signature_runner returns: ``runner(x=array) -> {"y": array}``."""

    def __init__(
        self,
        session: Session,
        details: Callable[[int], dict[str, Any]],
        signature: dict[str, Any],
        positions: list[int] | None = None,
    ) -> None:
        self._session, self._details = session, details
        self._inputs: dict[str, int] = signature["inputs"]
        self._outputs: dict[str, int] = signature["outputs"]
        self._positions = positions or list(self._inputs.values())
        self._dtypes = {t: np.dtype(details(t)["dtype"] or object) for t in self._inputs.values()}

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Runs once. Each input is resized to its value's shape; dtypes must be the tensors'."""
        return self.run(self.bind((), inputs, convert=False))

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Input name -> details as Interpreter.get_input_details gives them."""
        return {name: self._details(tensor) for name, tensor in self._inputs.items()}

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Output name -> details as Interpreter.get_output_details gives them."""
        return {name: self._details(tensor) for name, tensor in self._outputs.items()}

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], convert: bool = True
    ) -> dict[int, np.ndarray]:
        """Tensor index -> value. `convert`: to the input's dtype where that keeps the kind of
        number (float64 to float32, int64 to int32). RilletError names what is missing, unknown or
        of another kind.
        """
        names = list(self._inputs)
        unknown = [name for name in kwargs if name not in self._inputs]
        if unknown:
            raise RilletError(
                f"Invalid Input name ({unknown[0]}); the inputs are: {', '.join(names)}"
            )
        if len(args) + len(kwargs) != len(names):
            raise RilletError(
                f"Invalid number of inputs provided: expected {len(names)} ({', '.join(names)}),"
                f" got {len(args) + len(kwargs)}"
            )
        given = {self._inputs[name]: value for name, value in kwargs.items()}
        for tensor, value in zip(self._positions, args):
            if tensor in given:
                raise RilletError(f"input {self._name(tensor)!r} is given by position and by name")
            given[tensor] = value
        if convert:
            return {tensor: self._convert(tensor, value) for tensor, value in given.items()}
        return {tensor: self._as_array(tensor, value) for tensor, value in given.items()}

    def _as_array(self, tensor: int, value: Any) -> np.ndarray:
        return _strings.as_array(value) if self._dtypes[tensor].kind == "S" else np.asarray(value)

    def _name(self, tensor: int) -> str:
        return next((name for name, index in self._inputs.items() if index == tensor), str(tensor))

    def _convert(self, tensor: int, value: Any) -> np.ndarray:
        wanted, array = self._dtypes[tensor], self._as_array(tensor, value)
        if wanted.kind == "S":
            return array
        if array.dtype != wanted and not np.can_cast(array.dtype, wanted, "same_kind"):
            raise RilletError(
                f"input {self._name(tensor)!r}: Got value of type {array.dtype} but expected"
                f" type {wanted}"
            )
        return array.astype(wanted, copy=False)

    def run(self, values: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Resizes and allocates as needed, sets, invokes; returns copies of the outputs by name."""
        session = self._session
        for tensor, value in values.items():
            session.resize(tensor, value.shape)
        session.allocate()
        for tensor, value in values.items():
            session.set(tensor, value)
        session.invoke()
        return {name: session.get(tensor) for name, tensor in self._outputs.items()}
