"""Graphs, operations, tensors, their types and shapes, and the registry of op records."""
