# SPDX-License-Identifier: Apache-2.0
"""Ops that no device runs, with the way around each."""

from __future__ import annotations

from converter.importers.rows import Rows, refuse

_REASONS = {
    "works on texts, which devices only look up: do it before the model": (
        *("AsString", "StringJoin", "StringLength", "StringLower", "StringUpper", "StringStrip"),
        *("StringSplit", "StringSplitV2", "StringNGrams", "StringFormat", "StringToNumber"),
        *("StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong", "Substr"),
        *("RegexFullMatch", "RegexReplace", "StaticRegexReplace", "StaticRegexFullMatch"),
        *("DecodeRaw", "DecodeBase64", "EncodeBase64", "UnicodeDecode", "UnicodeEncode"),
        *("ReduceJoin", "UnsortedSegmentJoin", "DecodeCSV", "ParseExample", "ParseExampleV2"),
        *("ParseSingleExample", "SentencepieceTokenizeOp", "WordpieceTokenizeWithOffsets"),
        *("UnicodeDecodeWithOffsets", "UnicodeTranscode", "DecodePaddedRaw"),
    ),
    "decodes a file, which devices do outside the model: choose the decoded tensor as input"
    " (inputs=[...]) and feed it": (
        *("DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeGif", "DecodeImage", "DecodeWav"),
        *("DecodeAndCropJpeg", "ReadFile", "WholeFileReader", "IteratorGetNext", "DecodeWebP"),
    ),
    "looks up a table that a frozen graph does not hold: look up outside the model, or write the"
    " table as a constant for tf.gather": (
        *("HashTable", "HashTableV2", "LookupTableFind", "LookupTableFindV2", "LookupTableSize"),
        *("LookupTableSizeV2", "MutableHashTable", "MutableHashTableV2", "AnonymousHashTable"),
    ),
    "runs Python, which no file holds: write it in tf ops": (
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"),
    ),
    "works on ragged or sparse tensors, which TFLite lacks: use dense ones": (
        *("RaggedTensorToTensor", "RaggedGather", "RaggedRange", "RaggedTensorToSparse"),
        *("RaggedTensorFromVariant", "RaggedTensorToVariant", "SparseTensorDenseMatMul"),
        *("SparseReshape", "SparseReorder", "SparseConcat", "SparseFillEmptyRows", "SparseSplit"),
        *("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN", "SparseReduceSum"),
        *("SparseBincount", "RaggedBincount", "DenseToDenseSetOperation", "SparseSlice"),
        *("SparseSegmentSumWithNumSegments", "SparseSegmentMeanWithNumSegments"),
    ),
    "assigns a variable, whose value a frozen graph has lost: make the state an input and an"
    " output of the model": (
        *("Assign", "AssignAdd", "AssignSub", "AssignVariableOp", "AssignAddVariableOp"),
        *("AssignSubVariableOp", "ScatterUpdate", "ScatterAdd", "ResourceScatterUpdate"),
    ),
    "draws boxes into an image: draw them outside the model": (
        *("DrawBoundingBoxes", "DrawBoundingBoxesV2"),
    ),
}

ROWS: Rows = {name: refuse(reason) for reason, names in _REASONS.items() for name in names}
