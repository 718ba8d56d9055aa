# SPDX-License-Identifier: Apache-2.0
"""The one table of facts about TFLite's FlatBuffer schema (version 3, file identifier TFL3).

The reader, the writer and the C field ids (``python -m converter.gen_c_schema``) are driven by it.
Notation, one row per item, continued by indentation:

    Name:type MEMBER ...               an enum, members numbered from 0 (every TFLite enum is dense)
    Name field:type[=default] ...      a table, one field per slot; ``_`` is a deprecated slot

Types are FlatBuffers' scalars, ``string``, an enum, a table, ``[element]``, or a union. A union
field ``f`` takes two slots, ``f_type`` (ubyte) and ``f``. A default is 0, false or the enum's first
member where none is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from converter import metadata_schema, schema_options

FILE_IDENTIFIER = b"TFL3"
VERSION = 3

_ENUMS = """
TensorType:byte FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64
    COMPLEX128 UINT64 RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN
    FLOAT8_E5M2
QuantizationDetails:union NONE CustomQuantization BlockwiseQuantization MultiAxisQuantization
DimensionType:byte DENSE SPARSE_CSR
SparseIndexVector:union NONE Int32Vector Uint16Vector Uint8Vector
BuiltinOperator:int ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE
    DEQUANTIZE EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION
    L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU
    RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
    UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB
    DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP
    TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX
    MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV
    SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN
    FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
    REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
    RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
    REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE
    MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5
    SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES
    CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND
    HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
    GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
    UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
    STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM
    STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
    STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
    STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
    STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER
    STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER
    STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE
    STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT
    STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
    REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
BuiltinOptions:union NONE Conv2DOptions DepthwiseConv2DOptions ConcatEmbeddingsOptions
    LSHProjectionOptions Pool2DOptions SVDFOptions RNNOptions FullyConnectedOptions
    SoftmaxOptions ConcatenationOptions AddOptions L2NormOptions
    LocalResponseNormalizationOptions LSTMOptions ResizeBilinearOptions CallOptions
    ReshapeOptions SkipGramOptions SpaceToDepthOptions EmbeddingLookupSparseOptions MulOptions
    PadOptions GatherOptions BatchToSpaceNDOptions SpaceToBatchNDOptions TransposeOptions
    ReducerOptions SubOptions DivOptions SqueezeOptions SequenceRNNOptions StridedSliceOptions
    ExpOptions TopKV2Options SplitOptions LogSoftmaxOptions CastOptions DequantizeOptions
    MaximumMinimumOptions ArgMaxOptions LessOptions NegOptions PadV2Options GreaterOptions
    GreaterEqualOptions LessEqualOptions SelectOptions SliceOptions TransposeConvOptions
    SparseToDenseOptions TileOptions ExpandDimsOptions EqualOptions NotEqualOptions ShapeOptions
    PowOptions ArgMinOptions FakeQuantOptions PackOptions LogicalOrOptions OneHotOptions
    LogicalAndOptions LogicalNotOptions UnpackOptions FloorDivOptions SquareOptions
    ZerosLikeOptions FillOptions BidirectionalSequenceLSTMOptions
    BidirectionalSequenceRNNOptions UnidirectionalSequenceLSTMOptions FloorModOptions
    RangeOptions ResizeNearestNeighborOptions LeakyReluOptions SquaredDifferenceOptions
    MirrorPadOptions AbsOptions SplitVOptions UniqueOptions ReverseV2Options AddNOptions
    GatherNdOptions CosOptions WhereOptions RankOptions ReverseSequenceOptions MatrixDiagOptions
    QuantizeOptions MatrixSetDiagOptions HardSwishOptions IfOptions WhileOptions
    DepthToSpaceOptions NonMaxSuppressionV4Options NonMaxSuppressionV5Options ScatterNdOptions
    SelectV2Options DensifyOptions SegmentSumOptions BatchMatMulOptions CumsumOptions
    CallOnceOptions BroadcastToOptions Rfft2dOptions Conv3DOptions HashtableOptions
    HashtableFindOptions HashtableImportOptions HashtableSizeOptions VarHandleOptions
    ReadVariableOptions AssignVariableOptions RandomOptions BucketizeOptions GeluOptions
    DynamicUpdateSliceOptions UnsortedSegmentProdOptions UnsortedSegmentMaxOptions
    UnsortedSegmentMinOptions UnsortedSegmentSumOptions ATan2Options SignOptions BitcastOptions
    BitwiseXorOptions RightShiftOptions
BuiltinOptions2:union NONE StablehloConcatenateOptions StablehloBroadcastInDimOptions
    StablehloSliceOptions StablehloConvolutionOptions StablehloCustomCallOptions
    StablehloReduceOptions StablehloScatterOptions StablehloCompareOptions
    StablehloDynamicSliceOptions StablehloPadOptions StablehloIotaOptions
    StablehloDotGeneralOptions StablehloReduceWindowOptions StablehloSortOptions
    StablehloWhileOptions StablehloGatherOptions StablehloTransposeOptions DilateOptions
    StablehloRngBitGeneratorOptions ReduceWindowOptions StableHLOCompositeOptions
    StablehloShiftLeftOptions StablehloCaseOptions
StablehloPrecisionConfig:uint DEFAULT HIGH HIGHEST
StablehloComparisonDirection:uint STABLEHLO_COMPARISON_DIRECTION_EQ
    STABLEHLO_COMPARISON_DIRECTION_NE STABLEHLO_COMPARISON_DIRECTION_GE
    STABLEHLO_COMPARISON_DIRECTION_GT STABLEHLO_COMPARISON_DIRECTION_LE
    STABLEHLO_COMPARISON_DIRECTION_LT
StablehloComparisonType:uint STABLEHLO_COMPARISON_TYPE_NOTYPE STABLEHLO_COMPARISON_TYPE_FLOAT
    STABLEHLO_COMPARISON_TYPE_FLOAT_TOTAL_ORDER STABLEHLO_COMPARISON_TYPE_SIGNED
    STABLEHLO_COMPARISON_TYPE_UNSIGNED
RngAlgorithm:byte DEFAULT PHILOX THREEFRY
Padding:byte SAME VALID
ActivationFunctionType:byte NONE RELU RELU_N1_TO_1 RELU6 TANH SIGN_BIT
LSHProjectionType:byte UNKNOWN SPARSE DENSE
FullyConnectedOptionsWeightsFormat:byte DEFAULT SHUFFLED4x16INT8
LSTMKernelType:byte FULL BASIC
CombinerType:byte SUM MEAN SQRTN
MirrorPadMode:byte REFLECT SYMMETRIC
ReduceWindowFunction:int UNSUPPORTED ADD MUL MINIMUM MAXIMUM ALL ANY
CustomOptionsFormat:byte FLEXBUFFERS
"""

_TABLES = """
CustomQuantization custom:[ubyte]
BlockwiseQuantization scales:int zero_points:int block_size:int block_shape:[int]
MultiAxisQuantization scales:int zero_points:int block_size:int quantized_dimensions:[int]
QuantizationParameters min:[float] max:[float] scale:[float] zero_point:[long]
    details:QuantizationDetails quantized_dimension:int
Int32Vector values:[int]
Uint16Vector values:[ushort]
Uint8Vector values:[ubyte]
DimensionMetadata format:DimensionType dense_size:int array_segments:SparseIndexVector
    array_indices:SparseIndexVector
SparsityParameters traversal_order:[int] block_map:[int] dim_metadata:[DimensionMetadata]
VariantSubType shape:[int] type:TensorType has_rank:bool
Tensor shape:[int] type:TensorType buffer:uint name:string quantization:QuantizationParameters
    is_variable:bool sparsity:SparsityParameters shape_signature:[int] has_rank:bool
    variant_tensors:[VariantSubType] external_buffer:uint
OperatorCode deprecated_builtin_code:byte custom_code:string version:int=1
    builtin_code:BuiltinOperator
Operator opcode_index:uint inputs:[int] outputs:[int] builtin_options:BuiltinOptions
    custom_options:[ubyte] custom_options_format:CustomOptionsFormat
    mutating_variable_inputs:[bool] intermediates:[int] large_custom_options_offset:ulong
    large_custom_options_size:ulong builtin_options_2:BuiltinOptions2
    debug_metadata_index:int=-1
SubGraph tensors:[Tensor] inputs:[int] outputs:[int] operators:[Operator] name:string
    debug_metadata_index:int=-1
Buffer data:[ubyte] offset:ulong size:ulong
ExternalBufferGroup name:string
ExternalBuffer id:uint group:uint offset:ulong length:ulong packing:string
Metadata name:string buffer:uint
TensorMap name:string tensor_index:uint
SignatureDef inputs:[TensorMap] outputs:[TensorMap] signature_key:string _ subgraph_index:uint
Model version:uint operator_codes:[OperatorCode] subgraphs:[SubGraph] description:string
    buffers:[Buffer] metadata_buffer:[int] metadata:[Metadata] signature_defs:[SignatureDef]
    external_buffer_groups:[ExternalBufferGroup] external_buffers:[ExternalBuffer]
"""

SCALARS = {  # FlatBuffers scalar -> struct format character
    "bool": "?",
    "byte": "b",
    "ubyte": "B",
    "short": "h",
    "ushort": "H",
    "int": "i",
    "uint": "I",
    "long": "q",
    "ulong": "Q",
    "float": "f",
}


@dataclass(frozen=True)
class Enum:
    """`base` is the scalar that holds it (``"union"`` for unions: a ubyte tag)."""

    name: str
    base: str
    members: tuple[str, ...]

    @property
    def values(self) -> dict[str, int]:
        return _values(self.name)


@dataclass(frozen=True)
class Field:
    """One field. `kind` is "scalar", "enum", "string", "table", "union" or "vector".

    `type` is the scalar, enum, table or union (of the element, for a vector); `slot` counts from 0,
    so the vtable entry lies at byte 4 + 2 * slot; a union's tag has slot - 1.
    """

    name: str
    kind: str
    type: str
    slot: int
    default: Any = None

    @property
    def base(self) -> str:
        """The scalar stored for a scalar or enum (element)."""
        return ALL_ENUMS[self.type].base if self.type in ALL_ENUMS else self.type


def _rows(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    for line in text.strip().splitlines():
        if words and not line.startswith(" "):
            yield words
            words = []
        words += line.split()
    yield words


def _parse_enums(text: str) -> dict[str, Enum]:
    enums = {}
    for head, *members in _rows(text):
        name, base = head.split(":")
        enums[name] = Enum(name, base, tuple(members))
    return enums


ENUMS = _parse_enums(_ENUMS)
ALL_ENUMS = {**ENUMS, **_parse_enums(metadata_schema.ENUMS)}  # and those of the metadata in a model
UNIONS = {name for name, enum in ENUMS.items() if enum.base == "union"}
_ROWS: dict[str, list[str]] = {
    words[0]: words[1:] for text in (_TABLES, schema_options.TABLES) for words in _rows(text)
}
_ROWS.update({name: [] for name in schema_options.EMPTY_TABLES.split()})
TABLES = tuple(_ROWS)  # of models
_ROWS.update({words[0]: words[1:] for words in _rows(metadata_schema.TABLES)})


@cache
def _values(enum: str) -> dict[str, int]:
    return {member: i for i, member in enumerate(ALL_ENUMS[enum].members)}


def enum_name(enum: str, value: int) -> str | None:
    """Name of `value` in `enum`, None if the schema has no such member."""
    members = ALL_ENUMS[enum].members
    return members[value] if 0 <= value < len(members) else None


@cache
def fields(table: str) -> tuple[Field, ...]:
    """The fields of `table` in slot order, deprecated ones left out."""
    found, slot = [], 0
    for word in _ROWS[table]:
        if word == "_":
            slot += 1
            continue
        name, _, rest = word.partition(":")
        type_, _, default = rest.partition("=")
        field = _field(name, type_, slot, default)
        slot = field.slot + 1
        found.append(field)
    return tuple(found)


@cache
def field(table: str, name: str) -> Field:
    """The field `name` of `table`; KeyError if there is none."""
    for candidate in fields(table):
        if candidate.name == name:
            return candidate
    raise KeyError(f"{table} has no field {name!r}")


def _field(name: str, type_: str, slot: int, default: str) -> Field:
    if type_.startswith("["):
        return Field(name, "vector", type_[1:-1], slot)
    if type_ in ALL_ENUMS and ALL_ENUMS[type_].base == "union":
        return Field(name, "union", type_, slot + 1)
    if type_ in ALL_ENUMS:
        return Field(name, "enum", type_, slot, default or ALL_ENUMS[type_].members[0])
    if type_ == "string":
        return Field(name, "string", type_, slot)
    if type_ == "bool":
        return Field(name, "scalar", type_, slot, default == "true")
    if type_ in SCALARS:
        number = float(default or 0) if type_ == "float" else int(default or 0)
        return Field(name, "scalar", type_, slot, number)
    return Field(name, "table", type_, slot)


@cache
def _options_by_op() -> dict[str, str]:
    members = (*ENUMS["BuiltinOptions"].members[1:], *ENUMS["BuiltinOptions2"].members[1:])
    by_spelling = {name.lower(): name for name in members}
    found = {}
    for op in ENUMS["BuiltinOperator"].members:
        name = by_spelling.get(op.replace("_", "").lower() + "options")
        if name:
            found[op] = name
    for name, ops in schema_options.SHARED_OPTIONS.items():
        found.update(dict.fromkeys(ops.split(), name))
    return found


def options_of(op: str) -> str | None:
    """The options table of a builtin op (CONV_2D: Conv2DOptions), None if it has none.

    CamelCase of the op's name plus "Options", or as schema_options.SHARED_OPTIONS says.
    """
    return _options_by_op().get(op)
