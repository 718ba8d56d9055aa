# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""The functions and classes of `tf.train`."""

from host_engine.graphdef.exporting import write_graph
from host_engine.graphdef.metagraph import export_meta_graph, import_meta_graph
from host_engine.optimizers import (
    AdagradOptimizer,
    AdamOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    Optimizer,
    RMSPropOptimizer,
)
from host_engine.safetensors import load_safetensors, read_safetensors, save_safetensors
from host_engine.saver import (
    CheckpointReader,
    CheckpointState,
    Saver,
    checkpoint_exists,
    get_checkpoint_state,
    latest_checkpoint,
    list_variables,
    load_checkpoint,
    load_variable,
    update_checkpoint_state,
)
from host_engine.schedules import (
    create_global_step,
    exponential_decay,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

NewCheckpointReader = CheckpointReader
