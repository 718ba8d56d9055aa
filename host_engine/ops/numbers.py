# SPDX-License-Identifier: Apache-2.0
"""Records, for inference, of functions of each element, of complex numbers and Fourier transforms,
and of the features of speech models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.registry import OPS, define, sample
from host_engine.framework.tensor import Operation
from host_engine.ops import binary, linalg, math, nn  # noqa: F401 (whose records these repeat)

_INTEGERS = sample(np.array([5, -3, 12], np.int32), np.array([3, 6, -1], np.int32))


def _again(name: str, like: str) -> None:
    """The record of `like` under another name, without a gradient."""
    OPS[name] = replace(OPS[like], name=name, grad=None)


for _name, _like in (
    *(("BiasAddV1", "BiasAdd"), ("Div", "RealDiv")),
    *(("AccumulateNV2", "AddN"), ("Inv", "Reciprocal"), ("Snapshot", "Identity")),
    ("PreventGradient", "Identity"),
):
    if _like in OPS and _name not in OPS:
        _again(_name, _like)


def _batch_matmul(
    xp: Any, x: Any, y: Any, Tout: Any = None, adj_x: bool = False, adj_y: bool = False, **_: Any
) -> Any:
    """Products of matrices, in a type that may be wider than theirs."""
    plain = OPS["BatchMatMulV2"].compute
    assert plain is not None
    kind = x.dtype if Tout is None else Tout.as_numpy_dtype
    return plain(xp, x.astype(kind), y.astype(kind), adj_x=adj_x, adj_y=adj_y)


OPS["BatchMatMulV3"] = replace(
    OPS["BatchMatMulV2"],
    name="BatchMatMulV3",
    grad=None,
    types=None,
    compute=_batch_matmul,
    dtype=lambda op: [op._attrs.get("Tout") or op.inputs[0].dtype],
)


def _unary(name: str, function: Callable[..., Any], domain: Any = None) -> None:
    define(
        name,
        "x:T",
        shape=rules.same,
        compute=lambda xp, x, **_: function(x).astype(x.dtype),
        samples=(sample((2, 3), domain=domain),),
    )


def _binary(name: str, function: Callable[..., Any], *samples: Any) -> None:
    define(
        name,
        "x:T y:T",
        shape=rules.broadcast,
        compute=lambda xp, x, y, **_: function(x, y).astype(x.dtype),
        samples=samples,
    )


for _name, _function, _domain in (
    ("Acos", np.arccos, (-0.9, 0.9)),
    ("Acosh", np.arccosh, (1.1, 4.0)),
    ("Asin", np.arcsin, (-0.9, 0.9)),
    ("Asinh", np.arcsinh, None),
    ("Atan", np.arctan, None),
    ("Atanh", np.arctanh, (-0.9, 0.9)),
    ("Cosh", np.cosh, None),
    ("Sinh", np.sinh, None),
):
    _unary(_name, _function, _domain)


def _no_nan(function: Callable[..., Any], by_second: bool) -> Callable[..., Any]:
    """`function`, but 0 where one operand is 0."""

    def compute(x: Any, y: Any) -> Any:
        zero = np.broadcast_to((y if by_second else x) == 0, np.broadcast_shapes(x.shape, y.shape))
        return np.where(zero, 0, function(x, y))

    return compute


_FLOATS = sample(np.array([0.0, 2.0, -3.0]), np.array([[1.5], [0.5]]))
_DIVISORS = sample(np.array([0.0, 2.0, -3.0]), np.array([[0.0], [0.5]]))
for _name, _pair, _zero_second in (
    ("DivNoNan", np.divide, True),
    ("MulNoNan", np.multiply, True),
    ("Xdivy", np.divide, False),
    ("Xlogy", lambda x, y: x * np.log(y), False),
    ("Xlog1py", lambda x, y: x * np.log1p(y), False),
):
    _binary(_name, _no_nan(_pair, _zero_second), _DIVISORS if _zero_second else _FLOATS)
for _name, _pair in (
    ("BitwiseAnd", np.bitwise_and),
    ("BitwiseOr", np.bitwise_or),
    ("BitwiseXor", np.bitwise_xor),
    ("Mod", np.fmod),
    ("TruncateMod", np.fmod),
):
    _binary(_name, _pair, _INTEGERS)
define(
    "Invert",
    "x:T",
    shape=rules.same,
    compute=lambda xp, x, **_: ~x,
    samples=(sample(np.array([5, -3], np.int32)),),
)
define(
    "ClipByValue",
    "t:T clip_value_min:T clip_value_max:T",
    shape=rules.same,
    compute=lambda xp, x, low, high, **_: xp.minimum(xp.maximum(x, low), high),
    samples=(sample((2, 3), np.array(-0.5), np.array(0.5)),),
)


# -- complex numbers ----------------------------------------------------------------------------


def _complex_of(op: Operation) -> list[Any]:
    wide = op.inputs[0].dtype in (dtypes.float64, dtypes.complex128)
    return [dtypes.complex128 if wide else dtypes.complex64]


def _real_of(op: Operation) -> list[Any]:
    wide = op.inputs[0].dtype in (dtypes.float64, dtypes.complex128)
    return [dtypes.float64 if wide else dtypes.float32]


def _as_complex(array: Any, like: Any) -> Any:
    wide = like.dtype in (np.float64, np.complex128)
    return array.astype(np.complex128 if wide else np.complex64)


def _as_real(array: Any, like: Any) -> Any:
    return array.astype(np.float64 if like.dtype in (np.float64, np.complex128) else np.float32)


define(
    "Complex",
    "real:T imag:T",
    shape=rules.broadcast,
    compute=lambda xp, x, y, **_: _as_complex(x + 1j * y, x),
    dtype=_complex_of,
)
for _name, _part in (
    ("Angle", np.angle),
    ("ComplexAbs", np.abs),
    ("Imag", np.imag),
    ("Real", np.real),
):
    define(
        _name,
        "x:any",
        shape=rules.same,
        compute=lambda xp, x, _part=_part, **_: _as_real(_part(x), x),
        dtype=_real_of,
    )
define("Conj", "x:any", shape=rules.same, compute=lambda xp, x, **_: xp.conj(x))


def _lengths_shape(op: Operation) -> list[Any]:
    rank = op.inputs[0].shape.ndims
    return [None if rank is None else [None] * rank]


def _transforms(axes: int) -> None:
    suffix = "" if axes == 1 else f"{axes}D"
    over = tuple(range(-axes, 0))
    for name, function in (("FFT", np.fft.fftn), ("IFFT", np.fft.ifftn)):
        define(
            name + suffix,
            "input:any",
            shape=rules.same,
            compute=lambda xp, x, function=function, **_: _as_complex(function(x, axes=over), x),
        )
    define(
        f"RFFT{suffix}",
        "input:any fft_length:int32",
        shape=_lengths_shape,
        compute=lambda xp, x, n, **_: _as_complex(np.fft.rfftn(x, list(map(int, n)), over), x),
        dtype=_complex_of,
    )
    define(
        f"IRFFT{suffix}",
        "input:any fft_length:int32",
        shape=_lengths_shape,
        compute=lambda xp, x, n, **_: _as_real(np.fft.irfftn(x, list(map(int, n)), over), x),
        dtype=_real_of,
    )


for _axes in (1, 2, 3):
    _transforms(_axes)


# -- speech -------------------------------------------------------------------------------------


def _spectrogram(
    xp: Any, x: Any, window_size: int, stride: int, magnitude_squared: bool = False, **_: Any
) -> Any:
    """[channels, frames, bins] of [samples, channels], in Hann windows."""
    starts = np.arange(1 + (len(x) - window_size) // stride) * stride
    frames = np.asarray(x, np.float64).T[:, starts[:, None] + np.arange(window_size)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_size) / window_size)
    found = np.abs(np.fft.rfft(frames * window, 1 << (window_size - 1).bit_length()))
    return (found**2 if magnitude_squared else found).astype(np.float32)


def _spectrogram_shape(op: Operation) -> list[Any]:
    size, step = int(op._attrs["window_size"]), int(op._attrs["stride"])
    samples, channels = op.inputs[0].shape.as_list() if op.inputs[0].shape.ndims else (None, None)
    frames = None if samples is None else 1 + (samples - size) // step
    return [[channels, frames, 1 + (1 << (size - 1).bit_length()) // 2]]


def mel_bands(bins: int, bands: int, rate: float, low: float, high: float) -> np.ndarray:
    """[bands, bins] triangles of equal width in mel, as TensorFlow's Mfcc lays them."""

    def mel(frequency: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)

    hertz = 0.5 * rate / (bins - 1)
    centers = mel(low) + (mel(high) - mel(low)) / (bands + 1) * np.arange(1, bands + 2)
    found = np.zeros((bands, bins))
    for i in range(int(1.5 + low / hertz), min(int(high / hertz), bins - 1) + 1):
        place = mel(i * hertz)
        band = min(int(np.searchsorted(centers, place)), bands) - 1  # the last center below
        below = mel(low) if band < 0 else centers[band]
        share = (centers[band + 1] - place) / (centers[band + 1] - below)
        if band >= 0:
            found[band, i] += share
        if band + 1 < bands:
            found[band + 1, i] += 1 - share
    return found


def _mfcc(
    xp: Any,
    powers: Any,
    rate: Any,
    upper_frequency_limit: float = 4000.0,
    lower_frequency_limit: float = 20.0,
    filterbank_channel_count: int = 40,
    dct_coefficient_count: int = 13,
    **_: Any,
) -> Any:
    bands = filterbank_channel_count
    ends = (lower_frequency_limit, upper_frequency_limit)
    weights = mel_bands(powers.shape[2], bands, float(rate), *ends)
    energies = np.maximum(np.sqrt(np.asarray(powers, np.float64)) @ weights.T, 1e-12)
    turns = np.pi / bands * np.arange(dct_coefficient_count)[:, None] * (np.arange(bands) + 0.5)
    return (np.log(energies) @ (np.sqrt(2 / bands) * np.cos(turns)).T).astype(np.float32)


def _mfcc_shape(op: Operation) -> list[Any]:
    shape = op.inputs[0].shape
    front = shape.as_list()[:2] if shape.ndims == 3 else [None, None]
    return [[*front, int(op._attrs.get("dct_coefficient_count", 13))]]


define(
    "AudioSpectrogram",
    "input:any",
    shape=_spectrogram_shape,
    compute=_spectrogram,
    dtype=dtypes.float32,
)
define(
    "Mfcc",
    "spectrogram:any sample_rate:int32",
    shape=_mfcc_shape,
    compute=_mfcc,
    dtype=dtypes.float32,
)
