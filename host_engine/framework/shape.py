# SPDX-License-Identifier: Apache-2.0
"""Static shapes: TensorShape and Dimension, where any part may be unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Dimension:
    """A size that may be unknown (`value` None). Arithmetic with an unknown gives an unknown."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            value = value.value
        if value is not None:
            value = int(value)
            if value < 0:
                raise ValueError(f"Dimension {value} must be >= 0")
        self.value: int | None = value

    def _with(self, other: Any, f: Any) -> Dimension:
        other = Dimension(other).value
        known = self.value is not None and other is not None
        return Dimension(f(self.value, other) if known else None)

    def __add__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        try:
            return self._with(other, lambda a, b: a * b)
        except (TypeError, ValueError):
            return NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b // a)

    __div__ = __floordiv__

    def __mod__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a % b)

    def __int__(self) -> int:
        if self.value is None:
            raise TypeError("__int__ returned non-int (type NoneType): the dimension is unknown")
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> Any:
        try:
            value = Dimension(other).value
        except (TypeError, ValueError):
            return NotImplemented
        return None if self.value is None or value is None else self.value == value

    def __ne__(self, other: object) -> Any:
        same = self.__eq__(other)
        return same if same is NotImplemented or same is None else not same

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a >= b)

    def _compare(self, other: Any, f: Any) -> bool | None:
        other = Dimension(other).value
        return None if self.value is None or other is None else f(self.value, other)

    def __hash__(self) -> int:
        return hash(self.value)

    def is_compatible_with(self, other: Any) -> bool:
        other = Dimension(other).value
        return self.value is None or other is None or self.value == other

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)


Dims = tuple[int | None, ...]


class TensorShape:
    """A shape whose rank (`dims` None) or single sizes may be unknown.

    Iteration and indexing give Dimension objects, a slice gives a TensorShape; `as_list()` and
    `sizes` give plain ints and Nones.
    """

    __slots__ = ("sizes",)

    def __init__(self, dims: Any = None) -> None:
        self.sizes: Dims | None
        if dims is None:
            self.sizes = None
        elif isinstance(dims, TensorShape):
            self.sizes = dims.sizes
        elif isinstance(dims, Iterable):
            self.sizes = tuple(_size(d) for d in dims)
        else:
            self.sizes = (_size(dims),)

    @property
    def dims(self) -> list[Dimension] | None:
        return None if self.sizes is None else [Dimension(s) for s in self.sizes]

    @property
    def ndims(self) -> int | None:
        return None if self.sizes is None else len(self.sizes)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """Sizes as a list, None where unknown; ValueError if the rank is unknown."""
        if self.sizes is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self.sizes)

    def num_elements(self) -> int | None:
        """The product of the sizes, or None unless all are known."""
        if self.sizes is None:
            return None
        count = 1
        for size in self.sizes:
            if size is None:
                return None
            count *= size
        return count

    def is_fully_defined(self) -> bool:
        return self.sizes is not None and None not in self.sizes

    def is_compatible_with(self, other: Any) -> bool:
        other = TensorShape(other)
        if self.sizes is None or other.sizes is None:
            return True
        return len(self.sizes) == len(other.sizes) and all(
            a is None or b is None or a == b for a, b in zip(self.sizes, other.sizes, strict=True)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def merge_with(self, other: Any) -> TensorShape:
        """The shape that knows what either knows; ValueError where they contradict."""
        other = TensorShape(other)
        if self.sizes is None or other.sizes is None:
            return other if self.sizes is None else self
        if len(self.sizes) != len(other.sizes):
            raise ValueError(f"Shapes {self} and {other} must have the same rank")
        self.assert_is_compatible_with(other)
        return TensorShape(
            b if a is None else a for a, b in zip(self.sizes, other.sizes, strict=True)
        )

    def concatenate(self, other: Any) -> TensorShape:
        other = TensorShape(other)
        if self.sizes is None or other.sizes is None:
            return TensorShape(None)
        return TensorShape(self.sizes + other.sizes)

    def with_rank(self, rank: int) -> TensorShape:
        """This shape with `rank` axes; ValueError if it has another number of them."""
        if self.sizes is not None and len(self.sizes) != rank:
            raise ValueError(f"Shape {self} must have rank {rank}")
        return self if self.sizes is not None else TensorShape([None] * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        if self.sizes is not None and len(self.sizes) < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def __len__(self) -> int:
        if self.sizes is None:
            raise ValueError("Cannot take the length of Shape with unknown rank.")
        return len(self.sizes)

    def __bool__(self) -> bool:
        return self.sizes is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self.sizes is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter([Dimension(s) for s in self.sizes])

    def __getitem__(self, key: Any) -> Any:
        if self.sizes is None:
            return TensorShape(None) if isinstance(key, slice) else Dimension(None)
        part = self.sizes[key]
        return TensorShape(part) if isinstance(key, slice) else Dimension(part)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __eq__(self, other: object) -> bool:
        try:
            return self.sizes == TensorShape(other).sizes
        except (TypeError, ValueError):
            return False

    def __hash__(self) -> int:
        return hash(self.sizes)

    def __str__(self) -> str:
        if self.sizes is None:
            return "<unknown>"
        text = ", ".join("?" if s is None else str(s) for s in self.sizes)
        return f"({text},)" if len(self.sizes) == 1 else f"({text})"

    def __repr__(self) -> str:
        return f"TensorShape({None if self.sizes is None else self.dims})"


def _size(value: Any) -> int | None:
    if isinstance(value, Dimension):
        return value.value
    if value is None:
        return None
    size = int(value)
    if size < 0:
        raise ValueError(f"Dimension {size} must be >= 0")
    return size


def as_shape(value: Any) -> TensorShape:
    """`value` as a TensorShape: None, int, iterable of sizes, or a TensorShape itself."""
    return value if isinstance(value, TensorShape) else TensorShape(value)


UNKNOWN = TensorShape(None)
