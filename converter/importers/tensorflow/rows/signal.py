# SPDX-License-Identifier: Apache-2.0
"""Rows for complex numbers, Fourier transforms and the features of speech models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, complexes, fourier, products
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.complexes import Complex
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.complexes import is_complex, parts
from converter.importers.tensorflow.context import Context, Row, Rows

# -- complex numbers --------------------------------------------------------------------------


def _complex(c: Context) -> Complex:
    real, imaginary = c.inputs()
    if c.b.dims(real) != c.b.dims(imaginary):  # a constant part, mostly
        zero = functools.partial(affine, c.b, factor=0.0, term=0.0)
        both = binary(c.b, "ADD", zero(real), zero(imaginary))
        real, imaginary = (binary(c.b, "ADD", part, both) for part in (real, imaginary))
    return Complex(real, imaginary)


def _magnitude(c: Context) -> ir.Value:
    return complexes.magnitude(c.b, parts(c, 0))


def _angle(c: Context) -> ir.Value:
    return complexes.angle(c.b, parts(c, 0))


def _conjugate(c: Context) -> Any:
    x = c.any_input(0)
    return complexes.conjugate(c.b, parts(c, 0)) if is_complex(x) else c.input(0)


def product(plain: Row) -> Row:
    """(p + q i) (r + s i) where the factors are complex, else `plain`."""

    def row(c: Context) -> Any:
        if not is_complex(c.any_input(0)):
            return plain(c)
        return complexes.product(c.b, parts(c, 0), parts(c, 1))

    return row


def exponential(plain: Row) -> Row:
    """exp(p) (cos(q) + sin(q) i) of complex numbers, else `plain`."""

    def row(c: Context) -> Any:
        if not is_complex(c.any_input(0)):
            return plain(c)
        real, imaginary = parts(c, 0)
        return complexes.polar(c.b, unary(c.b, "EXP", real), imaginary)

    return row


def cast(plain: Row) -> Row:
    """To complex numbers, or to their real parts, else `plain`."""

    def row(c: Context) -> Any:
        if is_complex(c.any_input(0)):
            found = parts(c, 0)
            return found if c.kind() == "COMPLEX64" else basic.cast(c.b, found.real, c.kind())
        if c.kind() == "COMPLEX64":
            real = basic.cast(c.b, c.input(0), "FLOAT32")
            return complexes.of_real(c.b, real)
        return plain(c)

    return row


# -- Fourier transforms -----------------------------------------------------------------------


def _complex_transform(function: Callable[..., np.ndarray], axes: int) -> Row:
    def row(c: Context) -> Any:
        x: Any = parts(c, 0)
        for axis in range(1, axes + 1):
            x = fourier.along(c.b, x, -axis, function)
        return x

    return row


def _lengths(c: Context, axes: int) -> list[int]:
    lengths = [int(n) for n in c.array(1, "length").reshape(-1)]
    if len(lengths) != axes or min(lengths) < 1:
        raise NoForm(f"transforms by the lengths {lengths}: the file is damaged")
    return lengths


def _real_transform(axes: int) -> Row:
    def row(c: Context) -> Any:
        *others, last = _lengths(c, axes)
        x: Any = fourier.along(c.b, fourier.fitted(c.b, c.input(0), last), -1, np.fft.rfft)
        for axis, length in enumerate(reversed(others), 2):
            x = Complex(*(_fitted(c, part, -axis, length) for part in x))
            x = fourier.along(c.b, x, -axis, np.fft.fft)
        return x

    return row


def _fitted(c: Context, x: ir.Value, axis: int, length: int) -> ir.Value:
    rank = basic.rank(c.b, x)
    perm = [*(i for i in range(rank) if i != rank + axis), rank + axis]
    found = fourier.fitted(c.b, basic.transpose(c.b, x, perm), length)
    return basic.transpose(c.b, found, [perm.index(i) for i in range(rank)])


def _inverse_to_real(axes: int) -> Row:
    def row(c: Context) -> Any:
        *others, last = _lengths(c, axes)
        x: Any = parts(c, 0)
        for axis, length in enumerate(reversed(others), 2):
            x = Complex(*(_fitted(c, part, -axis, length) for part in x))
            x = fourier.along(c.b, x, -axis, np.fft.ifft)
        x = Complex(*(fourier.fitted(c.b, part, last // 2 + 1) for part in x))
        return fourier.along(c.b, x, -1, lambda rows: np.fft.irfft(rows, last))

    return row


# -- speech -----------------------------------------------------------------------------------


def _spectrogram(c: Context) -> ir.Value:
    """Powers (or magnitudes) [channels, frames, bins] of [samples, channels] in Hann windows."""
    x, size, step = c.input(0), int(c.attr("window_size", 0)), int(c.attr("stride", 0))
    samples = c.b.fixed_dims(x, "its input")[0]
    if size < 2 or step < 1 or samples < size:
        raise NoForm(f"cuts frames of {size}, {step} apart, from {samples} samples")
    starts = np.arange(1 + (samples - size) // step) * step
    at = basic.int32s(c.b, starts[:, None] + np.arange(size), "frames")
    frames = c.b.emit("GATHER", [basic.transpose(c.b, x, [1, 0]), at], axis=1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    length = 1 << (size - 1).bit_length()

    def transform(rows: np.ndarray) -> np.ndarray:
        return np.fft.rfft(rows * window, length)

    real, imaginary = fourier.transformed(c.b, [frames], transform)
    assert imaginary is not None
    squares = binary(c.b, "ADD", unary(c.b, "SQUARE", real), unary(c.b, "SQUARE", imaginary))
    return squares if c.attr("magnitude_squared", False) else unary(c.b, "SQRT", squares)


def _cepstrum(c: Context) -> ir.Value:
    """Mel-frequency cepstral coefficients of a spectrogram: mel bands of magnitudes, their
    logarithms, and the discrete cosine transform of these.
    """
    powers, rate = c.input(0), float(c.array(1, "sample rate").reshape(()))
    bins = c.b.fixed_dims(powers, "its spectrogram")[2]
    bands, count = (
        int(c.attr("filterbank_channel_count", 40)),
        int(c.attr("dct_coefficient_count", 13)),
    )
    low, high = c.attr("lower_frequency_limit", 20.0), c.attr("upper_frequency_limit", 4000.0)
    weights = _mel_bands(bins, bands, rate, float(low), float(high))
    table = c.b.constant(weights, "mel_bands", np.float32)
    energies = products.matmul(c.b, unary(c.b, "SQRT", powers), table, False, True)
    floor = binary(c.b, "MAXIMUM", energies, scalar(c.b, 1e-12, energies))
    turns = np.pi / bands * np.arange(count)[:, None] * (np.arange(bands) + 0.5)
    cosines = c.b.constant(np.sqrt(2 / bands) * np.cos(turns), "cosines", np.float32)
    return products.matmul(c.b, unary(c.b, "LOG", floor), cosines, False, True)


def _mel_bands(bins: int, bands: int, rate: float, low: float, high: float) -> np.ndarray:
    """[bands, bins] triangles of equal width in mel, as TensorFlow's Mfcc lays them."""

    def mel(frequency: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)

    hertz = 0.5 * rate / (bins - 1)
    centers = mel(low) + (mel(high) - mel(low)) / (bands + 1) * np.arange(1, bands + 2)
    start, end = int(1.5 + low / hertz), int(high / hertz)
    found = np.zeros((bands, bins))
    for i in range(max(start, 0), min(end, bins - 1) + 1):
        place = mel(i * hertz)
        band = min(int(np.searchsorted(centers, place)), bands) - 1  # the last center below
        below = mel(low) if band < 0 else centers[band]
        share = (centers[band + 1] - place) / (centers[band + 1] - below)
        if band >= 0:
            found[band, i] += share
        if band + 1 < bands:
            found[band + 1, i] += 1 - share
    return found


ROWS: Rows = {
    "Angle": _angle,
    "AudioSpectrogram": _spectrogram,
    "Complex": _complex,
    "ComplexAbs": _magnitude,
    "Conj": _conjugate,
    "FFT": _complex_transform(np.fft.fft, 1),
    "FFT2D": _complex_transform(np.fft.fft, 2),
    "FFT3D": _complex_transform(np.fft.fft, 3),
    "IFFT": _complex_transform(np.fft.ifft, 1),
    "IFFT2D": _complex_transform(np.fft.ifft, 2),
    "IFFT3D": _complex_transform(np.fft.ifft, 3),
    "IRFFT": _inverse_to_real(1),
    "IRFFT2D": _inverse_to_real(2),
    "IRFFT3D": _inverse_to_real(3),
    "Imag": lambda c: parts(c, 0).imaginary,
    "Mfcc": _cepstrum,
    "RFFT": _real_transform(1),
    "RFFT2D": _real_transform(2),
    "RFFT3D": _real_transform(3),
    "Real": lambda c: parts(c, 0).real,
}
