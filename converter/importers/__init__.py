# SPDX-License-Identifier: Apache-2.0
"""Importers legalize a source model into :mod:`converter.ir`, one module per source."""
