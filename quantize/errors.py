# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""


class QuantizationError(Exception):
    """A model cannot be quantized as asked; the message says why and what to do."""
