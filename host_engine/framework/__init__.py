# SPDX-License-Identifier: Apache-2.0
"""Graphs, operations, tensors, their types and shapes, and the registry of op records."""
