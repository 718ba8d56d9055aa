# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""


class ConversionError(Exception):
    """A model cannot be read, converted or written; the message says why and what to do."""
