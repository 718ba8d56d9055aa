# SPDX-License-Identifier: Apache-2.0
"""Keras models and SavedModels, through the package tensorflow where it is installed.

TensorFlow freezes the model; what is imported is its GraphDef. SavedModels are frozen without it,
too. Recurrent layers stay loops of plain
ops, which start from zero at every call: TFLite's LSTM op keeps its state from call to call.
"""

from __future__ import annotations

import importlib.util
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.importers.graph_files import SERVING, Frozen, frozen_saved_model, no_signature
from converter.importers.host import from_graphdef


def from_tensorflow(
    source: Any,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    signature: str = SERVING,
) -> ir.Model:
    """The model of a SavedModel's folder, a .keras or .h5 file, a Keras model, or a concrete
    function, by the package tensorflow; a SavedModel also where that is not installed.

    A SavedModel is taken by its `signature`, a Keras model by its call for inference.
    `input_shapes` gives shapes for inputs by name, None where a size stays dynamic. The signature
    keeps the model's names. No pass is run.

    Raises ConversionError where tensorflow is needed and not installed, or the source cannot be
    read, and, listing every obstacle, where an op has no form in TFLite.
    """
    if is_saved_model(source) and importlib.util.find_spec("tensorflow") is None:
        return convert_frozen(frozen_saved_model(source, signature), input_shapes or {})
    return convert_frozen(freeze(open_function(source, signature)), input_shapes or {})


def is_saved_model(source: Any) -> bool:
    """Whether `source` is the path of a folder."""
    return isinstance(source, (str, os.PathLike)) and Path(source).is_dir()


def convert_frozen(frozen: Frozen, shapes: Mapping[str, Sequence[int | None]]) -> ir.Model:
    """The model of a frozen graph, under the source's names."""
    inner = {name: graph_name for graph_name, name in frozen.inputs.items()}
    for name in shapes:
        if name not in inner:
            raise ConversionError(
                f"the model has no input '{name}' to give a shape; it has {', '.join(inner)}"
            )
    given = {inner[name]: dims for name, dims in shapes.items()}
    model = from_graphdef(frozen.graph_def, list(frozen.inputs), list(frozen.outputs), given)
    (signature,) = model.signatures
    for ends, values, names in (
        (signature.inputs, model.main.inputs, frozen.inputs),
        (signature.outputs, model.main.outputs, frozen.outputs),
    ):
        positions = dict(ends)
        ends.clear()
        for old, position in positions.items():
            ends[names[old]] = position
            values[position].name = names[old]
    return model


def open_function(source: Any, signature: str = SERVING) -> Any:
    """The concrete function that runs `source`; ConversionError where there is none."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ConversionError(
            "Keras models and SavedModels are read with the package tensorflow: pip install"
            ' "rillet[tensorflow]"; or freeze the model elsewhere and convert its .pb file'
        ) from error
    if hasattr(source, "structured_input_signature"):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            return _of_saved_model(tf, path, signature)
        source = _loaded(tf, path)
    if not hasattr(source, "inputs") or not callable(source):
        raise ConversionError(
            f"{type(source).__name__} is no Keras model, SavedModel folder or concrete function"
        )
    return _of_keras(tf, source)


def _loaded(tf: Any, path: Path) -> Any:
    if path.suffix.lower() == ".keras" and path.is_file() and not zipfile.is_zipfile(path):
        raise ConversionError(f"{path} is no .keras archive, or is cut off: get the file again")
    try:
        return tf.keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its parts do
        raise ConversionError(f"Keras cannot read {path}: {_first_line(error)}") from error


def _of_saved_model(tf: Any, path: Path, signature: str) -> Any:
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # OSError, ValueError, and those of its C++ side
        raise ConversionError(f"{path} is no SavedModel: {_first_line(error)}") from error
    signatures = dict(loaded.signatures)
    if signature not in signatures:
        raise ConversionError(no_signature(path, signature, signatures))
    function = signatures[signature]
    function._rillet_owner = loaded  # its variables live no longer than it does
    return function


def _of_keras(tf: Any, model: Any) -> Any:
    if not model.inputs:
        raise ConversionError("the Keras model has no inputs yet: build it, or call it once")
    try:
        given = model.input
    except AttributeError:  # a Sequential model that was not called yet
        given = model.inputs[0]
    specs = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in tf.nest.flatten(given)]
    names = list(getattr(model, "output_names", None) or [])
    if not names and getattr(model, "layers", None):  # a Sequential model gives one
        names = [model.layers[-1].name]

    def call(*values: Any) -> dict[str, Any]:
        found = tf.nest.flatten(model(tf.nest.pack_sequence_as(given, values), training=False))
        own = names if len(names) == len(found) else [f"output_{i}" for i in range(len(found))]
        return dict(zip(own, found, strict=True))

    try:
        function = tf.function(call).get_concrete_function(*specs)
        function._rillet_owner = model
        return function
    except Exception as error:  # a layer's own code runs here
        raise ConversionError(f"Keras cannot trace the model: {_first_line(error)}") from error


def freeze(function: Any) -> Frozen:
    """The function with its variables as constants, its loops as functions."""
    from tensorflow.python.framework import convert_to_constants

    try:
        frozen = convert_to_constants.convert_variables_to_constants_v2(
            function, lower_control_flow=False
        )
    except Exception as error:  # whatever grappler meets
        changed = next((op for op in function.graph.get_operations() if _assigns(op)), None)
        if changed is not None:
            raise ConversionError(
                f"{changed.type} at node '{changed.name}' changes a variable at every call (a"
                " stateful layer, or one that draws random numbers), which a frozen graph cannot:"
                " build the model with stateful=False, or make the state an input and an output"
            ) from error
        raise ConversionError(f"TensorFlow cannot freeze it: {_first_line(error)}") from error
    own = [_short(tensor) for tensor in frozen.inputs]
    keywords = list(function.structured_input_signature[1])
    names = keywords if keywords and set(own) != set(keywords) else own
    outputs = function.structured_outputs
    keys = list(outputs) if isinstance(outputs, dict) else [_short(t) for t in frozen.outputs]
    return Frozen(
        frozen.graph.as_graph_def().SerializeToString(),
        dict(zip(own, names, strict=True)),
        dict(zip(map(_short, frozen.outputs), sorted(keys), strict=True)),
    )


def _assigns(op: Any) -> bool:
    return op.type.startswith("Assign") and op.type.endswith("VariableOp")


def _short(tensor: Any) -> str:
    return str(tensor.name).removesuffix(":0")


def run_function(function: Any, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the function computes, by the names of :func:`freeze`."""
    import tensorflow as tf

    frozen = freeze(function)
    positional = [tf.constant(feeds[name]) for name in frozen.inputs.values()]
    flat = tf.nest.flatten(_called(function, positional, list(frozen.inputs.values())))
    return {
        name: np.asarray(value) for name, value in zip(frozen.outputs.values(), flat, strict=True)
    }


def run_graph_def(
    content: bytes, tensors: Sequence[str], feeds: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """`tensors` of a GraphDef, as TensorFlow computes them."""
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(content)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return [np.asarray(x) for x in session.run(list(tensors), dict(feeds))]


def _called(function: Any, values: list[Any], names: list[str]) -> Any:
    if function.structured_input_signature[1]:
        return function(**dict(zip(names, values, strict=True)))
    return function(*values)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
