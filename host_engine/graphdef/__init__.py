# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's GraphDef: read, written, imported into graphs and made from them.

``wire`` is protobuf's binary form, ``text`` its text form, ``messages`` the messages of
tensorflow/core/framework, ``tensors`` arrays in TensorProtos, ``signatures`` what goes in and out
of the ops, ``importing`` and ``exporting`` the ways into and out of a Graph.
"""
