# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements and work on shapes."""

from __future__ import annotations

import numpy as np
from conformance.op_rows import ANY, INDICES, NUMBERS, given, of, out, row, tensor


@row("RESHAPE", ANY, INDICES)
def reshape(op, type_, index):
    to = np.int32([4, 6])
    return of(op, [tensor(type_), given(index, to)], out(type_), new_shape=to)


@row("TRANSPOSE", ANY)
def transpose(op, type_):
    return of(op, [tensor(type_), given("INT32", [2, 0, 1])], out(type_))


@row("SQUEEZE", ANY)
def squeeze(op, type_):
    return of(op, [tensor(type_, (1, 3, 1))], out(type_), squeeze_dims=np.int32([0]))


@row("EXPAND_DIMS", ANY, INDICES)
def expand_dims(op, type_, index):
    return of(op, [tensor(type_), given(index, 1)], out(type_))


@row("SHAPE", ANY, INDICES)
def shape(op, type_, to):
    return of(op, [tensor(type_)], out(to), out_type=to)


@row("RANK", ANY)
def rank(op, type_):
    return of(op, [tensor(type_)], out("INT32"))


@row("SLICE", ANY, INDICES)
def slice_(op, type_, index):
    bounds = [given(index, [0, 1, 0]), given(index, [2, 2, -1])]
    return of(op, [tensor(type_), *bounds], out(type_, shape=(2, 2, 4)))


@row("STRIDED_SLICE", ANY, ["INT32", "INT64", "INT16"])
def strided_slice(op, type_, index):
    bounds = [given(index, v) for v in ([0, 1, 0], [2, 3, 4], [1, 1, 2])]
    return of(op, [tensor(type_), *bounds], out(type_))


@row("GATHER", ANY, ["INT16", "INT32", "INT64"])
def gather(op, type_, index):
    return of(op, [tensor(type_), given(index, [1, 0, 2], const=False)], out(type_), axis=1)


@row("GATHER_ND", ANY, ["INT16", "INT32", "INT64"])
def gather_nd(op, type_, index):
    return of(op, [tensor(type_), given(index, [[1, 0], [0, 2]], const=False)], out(type_))


@row("SCATTER_ND", ANY, INDICES)
def scatter_nd(op, type_, index):
    args = [given(index, [[1], [3]]), tensor(type_, (2, 3)), given(index, [5, 3])]
    return of(op, args, out(type_))


@row("CONCATENATION", ANY)
def concatenation(op, type_):
    return of(op, [tensor(type_), tensor(type_, (2, 1, 4))], out(type_), axis=1)


@row("CONCATENATION", ["INT8q", "UINT8q", "INT16q"], ["other-scale"])
def concatenation_rescaled(op, type_, _):
    parts = [tensor(type_), tensor(type_, (2, 1, 4), scale=0.02)]
    return of(op, parts, out(type_), axis=1)


@row("CONCATENATION", ["FLOAT32", "INT8q", "UINT8q"], ["RELU", "RELU6", "TANH"])
def concatenation_activation(op, type_, activation):
    parts = [tensor(type_), tensor(type_, (2, 1, 4))]
    return of(op, parts, out(type_), axis=1, fused_activation_function=activation)


@row("PACK", ANY)
def pack(op, type_):
    return of(op, [tensor(type_), tensor(type_)], out(type_), axis=1, values_count=2)


@row("UNPACK", ANY)
def unpack(op, type_):
    return of(op, [tensor(type_, (2, 3))], [out(type_), out(type_)], axis=0, num=2)


@row("SPLIT", ANY)
def split(op, type_):
    return of(op, [given("INT32", 2), tensor(type_)], [out(type_)] * 2, num_splits=2)


@row("SPLIT_V", ANY, INDICES)
def split_v(op, type_, index):
    args = [tensor(type_), given(index, [1, 2]), given("INT32", 1)]
    return of(op, args, [out(type_)] * 2, num_splits=2)


@row("PAD MIRROR_PAD", ANY, ["INT32", "INT64", "INT8", "INT16"])
def pad(op, type_, index):
    more = {"mode": "REFLECT"} if op == "MIRROR_PAD" else {}
    return of(op, [tensor(type_), given(index, [[0, 1], [1, 1], [2, 0]])], out(type_), **more)


@row("PADV2", ANY, ["INT32", "INT64", "INT8", "INT16"])
def pad_v2(op, type_, index):
    args = [tensor(type_), given(index, [[0, 1], [1, 1], [2, 0]]), tensor(type_, ())]
    return of(op, args, out(type_))


@row("TILE", ANY, INDICES)
def tile(op, type_, index):
    return of(op, [tensor(type_), given(index, [2, 1, 2])], out(type_))


@row("BROADCAST_TO", ANY, INDICES)
def broadcast_to(op, type_, index):
    return of(op, [tensor(type_, (3, 1)), given(index, [2, 3, 4])], out(type_))


@row("BROADCAST_ARGS", INDICES)
def broadcast_args(op, type_):
    return of(op, [given(type_, [3, 1], const=False), given(type_, [2, 1, 4])], out(type_))


@row("REVERSE_V2", ANY)
def reverse(op, type_):
    return of(op, [tensor(type_), given("INT32", [1])], out(type_))


@row("REVERSE_SEQUENCE", ANY, INDICES)
def reverse_sequence(op, type_, index):
    args = [tensor(type_), given(index, [2, 3], const=False)]
    return of(op, args, out(type_), seq_dim=1, batch_dim=0)


@row("SPACE_TO_DEPTH DEPTH_TO_SPACE", ANY)
def depth(op, type_):
    x = tensor(type_, (1, 4, 4, 1) if op == "SPACE_TO_DEPTH" else (1, 2, 2, 4))
    return of(op, [x], out(type_), block_size=2)


@row("SPACE_TO_BATCH_ND", ANY, INDICES)
def space_to_batch(op, type_, index):
    block, pads = given(index, [2, 2]), given(index, [[0, 1], [1, 0]])
    return of(op, [tensor(type_, (1, 3, 3, 2)), block, pads], out(type_))


@row("BATCH_TO_SPACE_ND", ANY, INDICES)
def batch_to_space(op, type_, index):
    block, crops = given(index, [2, 2]), given(index, [[0, 1], [0, 0]])
    return of(op, [tensor(type_, (4, 2, 2, 2)), block, crops], out(type_))


@row("FILL", INDICES, ANY)
def fill(op, index, type_):
    return of(op, [given(index, [2, 3]), tensor(type_, ())], out(type_))


@row("RANGE", NUMBERS)
def range_(op, type_):
    args = [given(type_, v, const=False) for v in (1, 7, 2)]
    return of(op, args, out(type_))


@row("WHERE", ANY)
def where(op, type_):
    return of(op, [tensor(type_)], out("INT64"))


@row("SELECT SELECT_V2", ANY)
def select(op, type_):
    return of(op, [tensor("BOOL"), tensor(type_), tensor(type_, low=1)], out(type_))


@row("SELECT_V2", ANY, ["broadcast"])
def select_broadcast(op, type_, _):
    args = [tensor("BOOL", (3, 1)), tensor(type_), tensor(type_, (4,), low=1)]
    return of(op, args, out(type_))


@row("ONE_HOT", INDICES, ANY)
def one_hot(op, index, type_):
    args = [given(index, [1, 0, 5], const=False), given("INT32", 3)]
    return of(op, [*args, tensor(type_, (), low=1), tensor(type_, ())], out(type_), axis=-1)


@row("MATRIX_DIAG", ANY)
def matrix_diag(op, type_):
    return of(op, [tensor(type_, (2, 3))], out(type_))


@row("MATRIX_SET_DIAG", ANY)
def matrix_set_diag(op, type_):
    return of(op, [tensor(type_, (2, 3, 3)), tensor(type_, (2, 3))], out(type_))


@row("SPARSE_TO_DENSE", INDICES, ANY)
def sparse_to_dense(op, index, type_):
    args = [given(index, [[0, 1], [2, 0]], const=False), given(index, [3, 2])]
    return of(op, [*args, tensor(type_, (2,)), tensor(type_, ())], out(type_))


@row("DYNAMIC_UPDATE_SLICE", ANY, INDICES)
def dynamic_update_slice(op, type_, index):
    args = [tensor(type_), tensor(type_, (1, 2, 2)), given(index, [1, 0, 1], const=False)]
    return of(op, args, out(type_))


@row("DILATE", ANY)
def dilate(op, type_):
    return of(op, [tensor(type_, (2, 3)), given("INT32", [2, 1]), tensor(type_, ())], out(type_))
