# SPDX-License-Identifier: Apache-2.0
"""Window geometry shared by convolution and pooling, and its arrays as strided views."""

from __future__ import annotations

from typing import Any, NamedTuple

from host_engine.errors import invalid
from host_engine.parallel import slices


class Axis(NamedTuple):
    """Windows along one axis: input and output size, kernel, stride, dilation, padding."""

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def padded(self) -> int:
        return self.size + self.before + self.after


def axis_of(size: int, kernel: int, stride: int, dilation: int, padding: str) -> Axis:
    """Geometry along an axis by TensorFlow's rule: SAME pads the end one more if odd.

    Raises InvalidArgumentError if a VALID window does not fit.
    """
    span = (kernel - 1) * dilation + 1
    if padding == "SAME":
        out = -(-size // stride)
        total = max((out - 1) * stride + span - size, 0)
        return Axis(size, out, kernel, stride, dilation, total // 2, total - total // 2)
    out = (size - span) // stride + 1
    if out < 0 or size < span:
        raise invalid(
            f"Computed output size would be negative: input size {size}, effective window {span}, "
            f"stride {stride}"
        )
    return Axis(size, out, kernel, stride, dilation, 0, 0)


def out_size(
    size: int | None, kernel: int | None, stride: int, dilation: int, padding: str
) -> int | None:
    """The static output size along an axis, None if not known; ValueError if negative."""
    if size is None or (kernel is None and padding == "VALID"):
        return None
    if padding == "SAME":
        return -(-size // stride)
    span = (int(kernel or 1) - 1) * dilation + 1
    if size < span:
        raise ValueError(f"Negative dimension size caused by subtracting {span} from {size}")
    return (size - span) // stride + 1


def check_padding(padding: Any) -> str:
    """ "SAME" or "VALID"; ValueError for anything else."""
    text = padding.decode() if isinstance(padding, bytes) else padding
    if text not in ("SAME", "VALID"):
        raise ValueError(f'padding must be "SAME" or "VALID", got {padding!r}')
    return text


def pad(xp: Any, x: Any, rows: Axis, cols: Axis, value: Any = 0) -> Any:
    """`x` [n, h, w, c] with its border filled with `value`; `x` itself if there is none."""
    if not (rows.before or rows.after or cols.before or cols.after):
        return x
    n, _, _, c = x.shape
    make = xp.zeros if value == 0 else xp.empty
    out = make((n, rows.padded, cols.padded, c), x.dtype)
    if value != 0:
        out.fill(value)
    out[:, rows.before : rows.before + rows.size, cols.before : cols.before + cols.size] = x
    return out


def unpad(x: Any, rows: Axis, cols: Axis) -> Any:
    """The inside of a padded [n, h, w, c], contiguous."""
    inside = x[:, rows.before : rows.before + rows.size, cols.before : cols.before + cols.size]
    return inside if inside.shape == x.shape else inside.copy()


def windows(xp: Any, x: Any, rows: Axis, cols: Axis) -> Any:
    """A view [n, out_h, out_w, kernel_h, kernel_w, c] of a padded [n, h, w, c]."""
    sn, sh, sw, sc = x.strides
    return xp.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], rows.out, cols.out, rows.kernel, cols.kernel, x.shape[3]),
        (
            sn,
            sh * rows.stride,
            sw * cols.stride,
            sh * rows.dilation,
            sw * cols.dilation,
            sc,
        ),
    )


_SLICE_BYTES = 1 << 20


def image_slices(x: Any) -> list[slice]:
    """The images of x [n, ...] in slices of about a megabyte."""
    return slices(len(x), max(1, _SLICE_BYTES // max(x[:1].nbytes, 1)))


def tap(x: Any, i: int, j: int, rows: Axis, cols: Axis) -> Any:
    """The view [n, out_h, out_w, c] of what kernel cell (i, j) sees in a padded [n, h, w, c]."""
    top, left = i * rows.dilation, j * cols.dilation
    return x[
        :,
        top : top + (rows.out - 1) * rows.stride + 1 : rows.stride,
        left : left + (cols.out - 1) * cols.stride + 1 : cols.stride,
    ]
