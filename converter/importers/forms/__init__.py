# SPDX-License-Identifier: Apache-2.0
"""What source dialects share: operations as ONNX and PyTorch mean them, written in TFLite's ops.

Every function takes a :class:`~converter.importers.builder.Builder` and values, appends nodes and
returns values. Layout is the source's (channels first); where TFLite wants channels last,
transposes are put around the op, and :mod:`converter.passes.layout` moves them to where they
cancel.
"""
