# SPDX-License-Identifier: Apache-2.0
"""Complex numbers and Fourier transforms, whose results are real in the end."""

from __future__ import annotations

import pytest
from torch_checks import check, floats, torch

import converter

nn = torch.nn
fft = torch.fft
real = torch.view_as_real

X = floats(2, 6, 8)
PAIRS = floats(3, 4, 2)
W = torch.complex(floats(4, 4), floats(4, 4) + 1)


def z(x):
    return torch.view_as_complex(x)


ARITHMETIC = {
    "abs and angle": (lambda x: (z(x).abs(), z(x).angle()), PAIRS),
    "angle of floats": (lambda x: torch.angle(x), X),
    "add": (lambda x: real(z(x) + W[0] + 2 - 1j), PAIRS),
    "add floats": (lambda x: real(z(x) + x[..., 0]), PAIRS),
    "sub": (lambda x: real(torch.sub(x[..., 1], z(x), alpha=2)), PAIRS),
    "mul": (lambda x: real(z(x) * z(x) * W[1]), PAIRS),
    "mul by floats": (lambda x: real(x[..., :1] * z(x)[..., None]), PAIRS),
    "mul by a number": (lambda x: real(z(x) * 3 * 1j), PAIRS),
    "div": (lambda x: real(z(x) / W[0] / 2), PAIRS),
    "reciprocal": (lambda x: real(1 / z(x)), PAIRS),
    "conj": (lambda x: (z(x) * z(x).conj()).real, PAIRS),
    "exp": (lambda x: torch.exp(1j * z(x)).imag, PAIRS),
    "pow": (lambda x: real(z(x) ** 2), PAIRS),
    "neg": (lambda x: real(-z(x)), PAIRS),
    "sum and mean": (lambda x: (real(z(x).sum(0)), real(z(x).mean())), PAIRS),
    "matmul": (lambda x: real(z(x) @ W), PAIRS),
    "polar": (lambda x: real(torch.polar(x, x * 2)), X),
    "parts": (lambda x: torch.complex(x, x + 1).imag, X),
    "to complex": (lambda x: real(x.to(torch.complex64)), X),
    "an input of complex numbers": (lambda c: real(c * c), W),
}
MOVEMENT = {
    "cat with floats": (lambda x: real(torch.cat([z(x), x[..., 0]], 1)), PAIRS),
    "full": (lambda x: real(z(x) + torch.full_like(z(x), 2.0)), PAIRS),
    "index": (lambda x: real(z(x)[:, torch.tensor([0, 2])].T), PAIRS),
    "pad": (lambda x: real(nn.functional.pad(z(x), (1, 2), value=3.0)), PAIRS),
    "reshape": (lambda x: real(z(x).reshape(2, 6).unsqueeze(1).expand(2, 3, 6)[:, 1, ::2]), PAIRS),
    "roll": (lambda x: real(torch.roll(z(x), 1, 1).flip(0)), PAIRS),
    "where": (lambda x: real(torch.where(x[..., 0] > 0, z(x), 2.0)), PAIRS),
    "write": (lambda x: real(_written(z(x))), PAIRS),
}
TRANSFORMS = {
    "fft": (lambda x: real(fft.fft(x)), X),
    "fft along an axis, longer": (lambda x: real(fft.fft(x, 9, dim=1, norm="ortho")), X),
    "fft and back": (lambda x: fft.ifft(fft.fft(x) * W[0].sum()).abs(), X),
    "fft2": (lambda x: real(fft.fft2(x, norm="forward")), X),
    "fftshift": (lambda x: fft.fftshift(fft.fft2(x)).abs(), X),
    "hfft": (lambda x: fft.hfft(z(x)), PAIRS),
    "ifft2": (lambda x: real(fft.ifft2(fft.fft2(x) * 2)), X),
    "irfft": (lambda x: fft.irfft(fft.rfft(x), 7, norm="ortho"), X),
    "irfft2": (lambda x: fft.irfft2(fft.rfft2(x) * 1j), X),
    "rfft": (lambda x: real(fft.rfft(x, dim=1)), X),
    "rfftn": (lambda x: fft.rfftn(x, norm="ortho").abs(), X),
}


def _written(c):
    c = c.clone()
    c[:, 0] = 2
    return c


CASES = {**ARITHMETIC, **MOVEMENT, **TRANSFORMS}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function, *inputs = CASES[name]
    check(function, *inputs)


def test_a_spectrogram_and_back():
    class Denoise(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("window", torch.hann_window(32))

        def forward(self, wave):
            found = torch.stft(wave, 32, 8, window=self.window, return_complex=True)
            mask = torch.sigmoid(found.abs() - 1)
            return torch.istft(found * mask, 32, 8, window=self.window, length=wave.shape[-1])

    check(Denoise(), floats(2, 200))


def test_rotary_embeddings_of_complex_numbers():
    def rotated(q):
        turns = 1.0 / 100.0 ** (torch.arange(0, 8, 2).float() / 8)
        angles = torch.outer(torch.arange(q.shape[1]).float(), turns)
        cis = torch.polar(torch.ones_like(angles), angles)[None, :, None]
        pairs = torch.view_as_complex(q.float().reshape(*q.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * cis).flatten(3)

    check(rotated, floats(2, 5, 3, 8))


def test_a_global_filter():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 5, 2))

        def forward(self, x):
            found = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
            weight = torch.view_as_complex(self.weight).permute(0, 1, 2)
            return torch.fft.irfft2(found * weight.mean(1)[:, None, :1], s=x.shape[1:3], dim=(1, 2))

    check(Filter(), floats(2, 4, 6, 5))


def test_complex_results_say_what_to_give_instead():
    with pytest.raises(converter.ConversionError, match="view_as_real"):
        check(fft.fft, X)


def test_an_op_without_a_complex_form_is_refused():
    with pytest.raises(converter.ConversionError, match=r"cosh at .* has no form"):
        check(lambda x: z(x).cosh().real, PAIRS)
