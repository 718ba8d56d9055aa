# SPDX-License-Identifier: Apache-2.0
"""The lowest version of each op that covers a node, and the runtime release that first had it.

The facts are those of TFLite's own versioning tables (op_version.cc and runtime_version.cc, 2.17);
an op without a row has version 1.
"""

from __future__ import annotations

from collections.abc import Callable

from converter import ir

# Ops whose version follows from the type of input 0 alone.
_BY_TYPE: dict[str, dict[str, int]] = {}


def _by_type(ops: str, **versions: int) -> None:
    for op in ops.split():
        _BY_TYPE[op] = versions


_by_type(
    "AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU6 RSQRT TANH "
    "LOGISTIC LESS GREATER_EQUAL",
    INT16=3,
    INT8=2,
)
_by_type(
    "SPACE_TO_DEPTH DEPTH_TO_SPACE SPLIT_V SUM LOG_SOFTMAX GREATER LESS_EQUAL SQUARED_DIFFERENCE "
    "L2_NORMALIZATION",
    INT8=2,
)
_by_type("CONCATENATION", UINT32=4, INT16=3, INT8=2)
_by_type("EXP LOG REDUCE_PROD FLOOR_MOD", INT16=2, INT8=2)
_by_type("RELU", INT16=3, INT8=2, UINT8=2)
_by_type("ABS", INT32=5, INT16=3, INT8=2, UINT8=2)
_by_type("EQUAL", INT16=4, STRING=3, INT8=2)
_by_type("NOT_EQUAL", STRING=3, INT8=2)
_by_type("UNPACK", INT16=4, BOOL=3, INT8=2, UINT8=2)
_by_type("PACK", UINT32=4, INT16=3, INT8=2)
_by_type("TILE", INT8=3, STRING=2)
_by_type("SQUEEZE", STRING=2)
_by_type("LEAKY_RELU", INT16=2)
_by_type("RANGE", INT64=2)
_by_type("ARG_MAX ARG_MIN", BOOL=3, INT8=2)
_by_type("REVERSE_V2", INT8=3, BOOL=2)
_by_type("FLOOR_DIV", INT16=3, INT8=3, FLOAT32=2)
_by_type("GELU", INT8=2, UINT8=2)
_by_type("SIGN", INT32=2)
_by_type("SELECT_V2", UINT32=2)


def _type(node: ir.Node, index: int) -> str:
    value = node.inputs[index] if index < len(node.inputs) else None
    return "" if value is None else value.dtype


def _rank(node: ir.Node) -> int:
    return max((len(v.shape) for v in node.inputs if v is not None), default=0)


def _broadcasts(node: ir.Node) -> bool:
    a, b = node.inputs[:2]
    return a is not None and b is not None and a.shape != b.shape


def _is_hybrid(node: ir.Node) -> bool:
    """Float activations with int8 weights (input 1)."""
    return _type(node, 0) == "FLOAT32" and _type(node, 1) == "INT8"


def _per_channel(node: ir.Node) -> bool:
    weights = node.inputs[1]
    return weights is not None and weights.quant is not None and weights.quant.per_channel


def _of_weights(node: ir.Node, versions: dict[tuple[str, str], int]) -> int:
    return versions.get((_type(node, 0), _type(node, 1)), 1)


def _conv_2d(node: ir.Node) -> int:
    x, w = node.inputs[:2]
    if _type(node, 0) == "INT16" and node.option("quantized_bias_type") != "FLOAT32":
        return 8
    if x is not None and w is not None and x.shape[3:] != w.shape[3:]:
        return 6  # grouped
    if _is_hybrid(node):
        return 5 if _per_channel(node) else 2
    versions = {("INT16", "INT16"): 4, ("INT16", "INT8"): 4}
    return _of_weights(node, {**versions, ("INT8", "INT8"): 3, ("INT8", "INT4"): 7})


def _depthwise_conv_2d(node: ir.Node) -> int:
    if _is_hybrid(node):
        return 6 if _per_channel(node) else 4
    types = (_type(node, 0), _type(node, 1))
    versions = {("INT16", "INT8"): 5, ("INT8", "INT8"): 3, ("INT8", "INT4"): 7}
    if types in versions:
        return versions[types]
    dilated = (node.option("dilation_w_factor"), node.option("dilation_h_factor")) != (1, 1)
    return 2 if dilated else 1


def _fully_connected(node: ir.Node) -> int:
    weights = node.inputs[1]
    if _is_hybrid(node) and _per_channel(node):
        return 12
    if _type(node, 0) == "INT16" and node.option("quantized_bias_type") != "FLOAT32":
        return 11
    if weights is not None and weights.sparsity is not None:
        return 8
    if _type(node, 0) == "INT16":
        return 7
    if len(node.inputs) == 2:
        return 6
    if node.option("keep_num_dims"):
        return 5
    if _is_hybrid(node):
        return 9 if node.option("asymmetric_quantize_inputs") else 3
    shuffled = node.option("weights_format") != "DEFAULT"
    return _of_weights(node, {("INT8", "INT8"): 4, ("INT8", "INT4"): 10}) if not shuffled else 2


def _add(node: ir.Node) -> int:
    x = node.inputs[0]
    if x is not None and x.dtype == "INT16":
        if not x.is_quantized:
            return 5
        return 1 if node.option("pot_scale_int16") else 3
    return {"INT64": 4, "INT8": 2}.get(_type(node, 0), 1)


def _sub(node: ir.Node) -> int:
    if _type(node, 0) == "INT16" and not node.option("pot_scale_int16"):
        return 5
    if _type(node, 0) == "INT64":
        return 4
    if _broadcasts(node) and _rank(node) > 4:
        return 3
    return 2 if _type(node, 0) == "INT8" else 1


def _mul(node: ir.Node) -> int:
    x = node.inputs[0]
    if x is not None and ((x.dtype == "INT16" and not x.is_quantized) or x.dtype == "UINT32"):
        return 7
    if _type(node, 0) in ("COMPLEX64", "INT64", "INT16"):
        return {"COMPLEX64": 6, "INT64": 5, "INT16": 4}[_type(node, 0)]
    scales = [
        float(v.quant.scale[0])
        for v in (*node.inputs, *node.outputs)
        if v is not None and v.quant is not None and v.quant.scale.size
    ]
    if len(scales) == 3 and scales[0] * scales[1] / scales[2] >= 1.0:
        return 3
    return 2 if _type(node, 0) == "INT8" else 1


def _min_max(node: ir.Node) -> int:
    if _type(node, 0) == "INT16":
        return 4
    if _broadcasts(node) and _rank(node) > 4:
        return 3
    return 2 if _type(node, 0) == "INT8" else 1


def _transpose(node: ir.Node) -> int:
    rank = _rank(node)
    if rank > 5:
        return 6
    if _type(node, 0) == "INT16":
        return 5
    return 4 if rank > 4 else {"BOOL": 3, "INT8": 2}.get(_type(node, 0), 1)


def _pad(node: ir.Node) -> int:
    return 4 if _rank(node) > 4 else {"INT16": 3, "INT8": 2}.get(_type(node, 0), 1)


def _resize(node: ir.Node) -> int:
    if _type(node, 0) == "INT16":
        return 4
    newer = node.option("half_pixel_centers") or (
        node.op == "RESIZE_NEAREST_NEIGHBOR" and node.option("align_corners")
    )
    return 3 if newer else {"INT8": 2}.get(_type(node, 0), 1)


def _space_batch(node: ir.Node) -> int:
    x = node.inputs[0]
    if x is not None and x.dtype != "INT16" and len(x.shape) != 4:
        return 3
    return {"INT16": 4, "INT8": 2}.get(_type(node, 0), 1)


def _slice(node: ir.Node) -> int:
    if _type(node, 0) != "UINT32" and _rank(node) > 4:
        return 5
    return {"UINT32": 6, "INT16": 4, "STRING": 3, "INT8": 2}.get(_type(node, 0), 1)


def _strided_slice(node: ir.Node) -> int:
    if node.option("offset"):
        return 8
    if _type(node, 0) == "UINT32":
        return 7
    if node.option("ellipsis_mask") or node.option("new_axis_mask"):
        return 6
    if _type(node, 0) == "STRING":
        return 5
    return 4 if _rank(node) > 4 else {"BOOL": 3, "INT8": 2}.get(_type(node, 0), 1)


def _gather(node: ir.Node) -> int:
    if _type(node, 0) == "INT4":
        return 7
    if _type(node, 1) == "INT16":
        return 6
    if node.option("batch_dims"):
        return 5
    return {"INT16": 4, "BOOL": 3, "INT8": 2}.get(_type(node, 0), 1)


def _transpose_conv(node: ir.Node) -> int:
    if _type(node, 0) == "INT16" and node.option("quantized_bias_type") != "FLOAT32":
        return 5
    if node.option("fused_activation_function") != "NONE":
        return 4
    if _type(node, 3):
        return 3
    return 2 if _type(node, 1) == "INT8" else 1


def _dequantize(node: ir.Node) -> int:
    x = node.inputs[0]
    if x is not None and x.dtype == "INT8" and x.quant is not None and x.quant.per_channel:
        return 5
    return {"INT4": 6, "INT16": 3, "FLOAT16": 3, "INT8": 2}.get(_type(node, 0), 1)


def _quantize(node: ir.Node) -> int:
    out = node.outputs[0]
    if "INT4" in (out.dtype, _type(node, 0)):
        return 4
    if out.quant is not None and out.quant.per_channel:
        return 3
    return 2 if out.dtype == "INT16" else 1


def _cast(node: ir.Node) -> int:
    types = {_type(node, 0), node.outputs[0].dtype}
    for version, of in ((7, "BFLOAT16"), (6, "INT4"), (5, "FLOAT64"), (5, "FLOAT16")):
        if of in types:
            return version
    return next((v for v, of in ((4, "UINT16"), (3, "INT8"), (2, "UINT32")) if of in types), 1)


def _batch_matmul(node: ir.Node) -> int:
    if _is_hybrid(node) and node.option("asymmetric_quantize_inputs"):
        return 4
    return {"INT16": 3, "INT8": 2}.get(_type(node, 0), 1)


def _broadcast_to(node: ir.Node) -> int:
    return 3 if _type(node, 0) in ("INT8", "INT16") else 2


_RULES: dict[str, Callable[[ir.Node], int]] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _add,
    "SUB": _sub,
    "MUL": _mul,
    "DIV": lambda node: 2 if _broadcasts(node) and _rank(node) > 4 else 1,
    "MAXIMUM": _min_max,
    "MINIMUM": _min_max,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "PADV2": _pad,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SPACE_TO_BATCH_ND": _space_batch,
    "BATCH_TO_SPACE_ND": _space_batch,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": lambda node: {"INT16": 4, "INT32": 3, "INT8": 2}.get(_type(node, 1), 1),
    "GATHER": _gather,
    "TRANSPOSE_CONV": _transpose_conv,
    "DEQUANTIZE": _dequantize,
    "QUANTIZE": _quantize,
    "CAST": _cast,
    "BATCH_MATMUL": _batch_matmul,
    "BROADCAST_TO": _broadcast_to,
    "FAKE_QUANT": lambda node: 2 if node.option("narrow_range") else 1,
    "WHERE": lambda node: 1 if _type(node, 0) == "BOOL" else 2,
}

# Ops and types whose newer versions have no row here keep the version they were read with.
_UNVERSIONED_TYPES = {"INT2", "UINT4", "FLOAT8_E4M3FN", "FLOAT8_E5M2", "BFLOAT16"}
_KEEP_AS_READ = """
    LSTM UNIDIRECTIONAL_SEQUENCE_LSTM BIDIRECTIONAL_SEQUENCE_LSTM RNN SVDF
    UNIDIRECTIONAL_SEQUENCE_RNN BIDIRECTIONAL_SEQUENCE_RNN GATHER_ND TOPK_V2 SELECT FILL
    SPARSE_TO_DENSE EMBEDDING_LOOKUP DYNAMIC_UPDATE_SLICE SQRT SIN COS PRELU CUSTOM
"""


def op_version(node: ir.Node) -> int:
    """The lowest version of the node's op that supports its types, ranks and options."""
    if node.op in _RULES:
        version = _RULES[node.op](node)
    else:
        version = _BY_TYPE.get(node.op, {}).get(_type(node, 0), 1)
    types = {v.dtype for v in (*node.inputs, *node.outputs) if v is not None}
    if (
        node.op in _KEEP_AS_READ.split()
        or node.op.startswith("STABLEHLO_")
        or types & _UNVERSIONED_TYPES
    ):
        return max(version, node.version or 1)
    return version
