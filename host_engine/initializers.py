# SPDX-License-Identifier: Apache-2.0
"""Initializers of variables: callables of (shape, dtype) that build the initial value."""

from __future__ import annotations

import math
from typing import Any

from host_engine.framework.build import constant
from host_engine.framework.dtypes import DType, as_dtype, float32
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Tensor
from host_engine.ops import random, source


class Initializer:
    """Base of all initializers; `dtype` is used unless the call names another."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return self.build(shape, self.dtype if dtype is None else as_dtype(dtype))

    def build(self, shape: Any, dtype: DType) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.build")


class Zeros(Initializer):
    def build(self, shape: Any, dtype: DType) -> Tensor:
        return source.zeros(shape, dtype)


class Ones(Initializer):
    def build(self, shape: Any, dtype: DType) -> Tensor:
        return source.ones(shape, dtype)


class Constant(Initializer):
    """A number, or a list or array of at most as many values as the variable holds."""

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> None:
        super().__init__(dtype)
        self.value = value
        self.verify_shape = verify_shape

    def build(self, shape: Any, dtype: DType) -> Tensor:
        return constant(self.value, dtype, shape=shape, verify_shape=self.verify_shape)


class RandomUniform(Initializer):
    def __init__(
        self, minval: Any = 0, maxval: Any = None, seed: int | None = None, dtype: Any = float32
    ) -> None:
        super().__init__(dtype)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def build(self, shape: Any, dtype: DType) -> Tensor:
        return random.random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class RandomNormal(Initializer):
    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = float32
    ) -> None:
        super().__init__(dtype)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def build(self, shape: Any, dtype: DType) -> Tensor:
        return random.random_normal(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(RandomNormal):
    def build(self, shape: Any, dtype: DType) -> Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


# The standard deviation of a standard normal truncated at two of them.
_TRUNCATED_STDDEV = 0.87962566103423978


class VarianceScaling(Initializer):
    """Numbers of variance `scale` / n, where n is the fan that `mode` names.

    mode: "fan_in", "fan_out" or "fan_avg"; distribution: "truncated_normal" (or "normal"),
    "untruncated_normal" or "uniform". ValueError for others.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        super().__init__(dtype)
        if scale <= 0:
            raise ValueError("`scale` must be positive float.")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Invalid `mode` argument: {mode}")
        if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(f"Invalid `distribution` argument: {distribution}")
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def build(self, shape: Any, dtype: DType) -> Tensor:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return random.truncated_normal(shape, 0.0, stddev, dtype, self.seed)


class GlorotUniform(VarianceScaling):
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot and Bengio (2010)."""

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class GlorotNormal(VarianceScaling):
    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


def fans(shape: Any) -> tuple[float, float]:
    """(fan_in, fan_out) of a weight of `shape`: the receptive field times in or out channels."""
    sizes = [int(d) for d in TensorShape(shape)]
    if len(sizes) < 1:
        return 1, 1
    if len(sizes) == 1:
        return sizes[0], sizes[0]
    field = math.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field
