# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""The functions of `tf.graph_util`."""

from host_engine.graphdef.exporting import (
    convert_variables_to_constants,
    extract_sub_graph,
    remove_training_nodes,
)
from host_engine.graphdef.freezing import freeze_checkpoint
from host_engine.graphdef.importing import import_graph_def
