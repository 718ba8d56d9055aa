# SPDX-License-Identifier: Apache-2.0
"""How a row of an importer says that something cannot be written in TFLite."""

from __future__ import annotations


class NoForm(Exception):
    """This use of an op cannot be written in TFLite; the message says why and what to do."""
