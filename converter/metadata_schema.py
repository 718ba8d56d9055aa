# SPDX-License-Identifier: Apache-2.0
"""The schema of TFLITE_METADATA (identifier M001) in the notation of :mod:`converter.schema`, as
far as it is written: version 1.5 of the format has more process units and content properties.
"""

from __future__ import annotations

FILE_IDENTIFIER = b"M001"

ENUMS = """
AssociatedFileType:byte UNKNOWN DESCRIPTIONS TENSOR_AXIS_LABELS TENSOR_VALUE_LABELS
    TENSOR_AXIS_SCORE_CALIBRATION VOCABULARY SCANN_INDEX_FILE
ColorSpaceType:byte UNKNOWN RGB GRAYSCALE
ContentProperties:union NONE FeatureProperties ImageProperties BoundingBoxProperties
    AudioProperties
ProcessUnitOptions:union NONE NormalizationOptions ScoreCalibrationOptions
    ScoreThresholdingOptions BertTokenizerOptions SentencePieceTokenizerOptions
    RegexTokenizerOptions
"""

TABLES = """
ModelMetadata name:string description:string version:string
    subgraph_metadata:[SubGraphMetadata] author:string license:string
    associated_files:[AssociatedFile] min_parser_version:string
SubGraphMetadata name:string description:string input_tensor_metadata:[TensorMetadata]
    output_tensor_metadata:[TensorMetadata] associated_files:[AssociatedFile]
TensorMetadata name:string description:string dimension_names:[string] content:Content
    process_units:[ProcessUnit] stats:Stats associated_files:[AssociatedFile]
Content content_properties:ContentProperties
FeatureProperties
ImageProperties color_space:ColorSpaceType
ProcessUnit options:ProcessUnitOptions
NormalizationOptions mean:[float] std:[float]
Stats max:[float] min:[float]
AssociatedFile name:string description:string type:AssociatedFileType
"""
