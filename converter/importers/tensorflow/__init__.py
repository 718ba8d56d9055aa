# SPDX-License-Identifier: Apache-2.0
"""The importer of TensorFlow graphs, whether a host session or a GraphDef holds them.

``graph`` walks the operations, ``rows`` say how each is written in TFLite's ops, ``loops`` turns
loops and branches of both versions of TensorFlow into WHILE and IF, ``lists`` follows arrays and
lists of tensors. Nothing here imports the package tensorflow but ``saved``, when it is asked to.
"""
