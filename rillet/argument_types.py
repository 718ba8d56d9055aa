# SPDX-License-Identifier: Apache-2.0
"""Numbers on the command line."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise ArgumentTypeError(f"{text} is not 1 or more")
    return number


def not_negative(text: str) -> int:
    number = _whole(text)
    if number < 0:
        raise ArgumentTypeError(f"{text} is negative")
    return number


def tolerance(text: str) -> float:
    numbers_given = numbers(text)
    if len(numbers_given) != 1 or numbers_given[0] < 0.0:
        raise ArgumentTypeError(f"{text!r} is not a number from 0")
    return numbers_given[0]


def numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a list of numbers") from None
    if not all(map(math.isfinite, found)):
        raise ArgumentTypeError(f"{text!r} is not finite")
    return found


def divisors(text: str) -> list[float]:
    found = numbers(text)
    if 0.0 in found:
        raise ArgumentTypeError("a divisor is 0")
    return found


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
    if abs(number) >= 1 << 31:
        raise ArgumentTypeError(f"{text[:40]} is too large")
    return number
