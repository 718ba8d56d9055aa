# SPDX-License-Identifier: Apache-2.0
"""The ONNX importer: :func:`converter.from_onnx`.

``model`` reads the file, ``graph`` walks the nodes, ``rows`` say how each op is written in TFLite's
ops, ``functions`` replaces ops that ONNX defines by others. Only here is the package ``onnx``
imported, and only when a model is read.
"""
