# SPDX-License-Identifier: Apache-2.0
"""Keras models, SavedModels and concrete functions, read by the package tensorflow."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import converter
import runtime
from converter import ConversionError
from converter.sources import GraphDefSource, TensorflowSource

tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
layers = tf.keras.layers


@pytest.fixture(autouse=True)
def _seeded():
    tf.keras.utils.set_random_seed(0)


def two_ends():
    first, second = layers.Input([4], name="first"), layers.Input([3], name="second")
    ends = {
        "zed": layers.Dense(2, name="zed")(first),
        "alpha": layers.Concatenate(name="alpha")([second, layers.Dense(3)(first)]),
    }
    return tf.keras.Model({"second": second, "first": first}, ends)


def recurrent(layer):
    x = layers.Input([9, 5], name="x")
    return tf.keras.Model(x, layers.Dense(3, name="y")(layer(x)))


def images():
    return tf.keras.Sequential(
        [
            layers.Input([16, 16, 3], name="image"),
            layers.Conv2D(4, 3, 2, activation="relu"),
            layers.SeparableConv2D(6, 3, dilation_rate=2),
            layers.Flatten(),
            layers.Dense(2, name="scores"),
        ]
    )


MODELS = {
    "two ends": two_ends,
    "images": images,
    "LSTM": lambda: recurrent(layers.LSTM(4)),
    "GRU": lambda: recurrent(layers.GRU(4, return_sequences=True)),
    "stacked": lambda: recurrent(
        layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], return_sequences=True)
    ),
    "both ways": lambda: recurrent(layers.Bidirectional(layers.LSTM(3, return_sequences=True))),
}


def check(source, wanted_names):
    made = converter.convert(TensorflowSource(source), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed
    assert "TensorFlow" in made.proof.engine
    (signature,) = made.model.signatures
    assert set(signature.inputs) == wanted_names[0] and set(signature.outputs) == wanted_names[1]
    ops = {node.op for graph in made.model.graphs for node in graph.nodes}
    assert "CUSTOM" not in ops and not any("LSTM" in op for op in ops)
    ours = runtime.Interpreter(model_content=made.content).get_signature_runner()(
        **made.proof.feeds
    )
    again = Interpreter(model_content=made.content).get_signature_runner()(**made.proof.feeds)
    for name, numbers in ours.items():
        np.testing.assert_allclose(again[name], numbers, atol=1e-5)


NAMES = {
    "two ends": ({"first", "second"}, {"zed", "alpha"}),
    "images": ({"image"}, {"scores"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_keras_models(name):
    check(MODELS[name](), NAMES.get(name, ({"x"}, {"y"})))


WHOLE = {
    "LSTM": lambda: layers.LSTM(4),
    "LSTM backwards": lambda: layers.LSTM(4, go_backwards=True, return_sequences=True),
    "LSTM without bias": lambda: layers.LSTM(4, use_bias=False),
    "LSTM both ways": lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    "RNN": lambda: layers.SimpleRNN(4),
    "GRU": lambda: layers.GRU(4, return_sequences=True),
    "GRU before": lambda: layers.GRU(4, reset_after=False),
}


@pytest.mark.parametrize("steps", [9, 40])
@pytest.mark.parametrize("name", WHOLE)
def test_recurrent_layers_of_one_batch_are_one_op(name, steps):
    x = layers.Input([steps, 5], batch_size=2, name="x")
    made = converter.convert(TensorflowSource(tf.keras.Model(x, WHOLE[name]()(x))), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed
    ops = [node.op for node in made.model.main.nodes]
    kind = name.split()[0]
    whole = "STABLEHLO_COMPOSITE" if kind == "GRU" else f"UNIDIRECTIONAL_SEQUENCE_{kind}"
    assert ops.count(whole) == (2 if "both" in name else 1)
    assert not {"WHILE", "LOGISTIC", "TANH"} & set(ops)
    runs = [
        kind(model_content=made.content).get_signature_runner()
        for kind in (runtime.Interpreter, Interpreter)
    ]
    for _ in range(2):  # a call does not see the one before
        ours, theirs = (run(**made.proof.feeds) for run in runs)
        for key, numbers in ours.items():
            np.testing.assert_allclose(theirs[key], numbers, atol=1e-5)


def test_stacked_cells_are_one_op_each():
    x = layers.Input([9, 5], batch_size=2, name="x")
    cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.LSTMCell(6)]
    y = layers.RNN(cells, return_sequences=True)(x)
    made = converter.convert(TensorflowSource(tf.keras.Model(x, y)), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed
    ops = [node.op for node in made.model.main.nodes]
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 2 and ops.count("STABLEHLO_COMPOSITE") == 1


@pytest.mark.parametrize("layer", [layers.LSTM(4, activation="relu"), layers.LSTM(4, unroll=True)])
def test_other_recurrent_layers_are_plain_operators(layer):
    x = layers.Input([9, 5], batch_size=2, name="x")
    made = converter.convert(TensorflowSource(tf.keras.Model(x, layer(x))), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed
    assert not any("SEQUENCE" in node.op for node in made.model.main.nodes)


@pytest.mark.parametrize("name", ["two ends", "LSTM"])
def test_files_and_folders(name, tmp_path):
    model = MODELS[name]()
    names = NAMES.get(name, ({"x"}, {"y"}))
    model.save(tmp_path / "m.keras")
    check(str(tmp_path / "m.keras"), names)
    model.export(tmp_path / "saved", verbose=False)
    source = TensorflowSource(tmp_path / "saved")
    made = converter.convert(source, tolerance=1e-5)
    assert set(made.model.signatures[0].inputs) == names[0]
    assert made.proof.passed


def test_a_concrete_function_and_its_shapes():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        return tf.einsum("ab,cb->ac", x, tf.ones([2, 3])) + tf.reduce_sum(x)

    concrete = function.get_concrete_function()
    model = converter.from_tensorflow(concrete, {"x": [4, 3]})
    assert model.main.inputs[0].shape == (4, 3)
    with pytest.raises(ConversionError, match="no input 'nope'"):
        converter.from_tensorflow(concrete, {"nope": [4, 3]})


def test_what_is_no_model(tmp_path):
    with pytest.raises(ConversionError, match="int is no Keras model"):
        converter.from_tensorflow(3)
    with pytest.raises(ConversionError, match="is no SavedModel"):
        converter.from_tensorflow(tmp_path)
    with pytest.raises(ConversionError, match="Keras cannot read"):
        converter.from_tensorflow(tmp_path / "gone.keras")


def test_graphs_that_the_host_engine_cannot_run_are_proved_by_tensorflow(tmp_path):
    from pathlib import Path

    path = Path(__file__).parent / "graphdefs" / "ops_volumes.pb"
    source = GraphDefSource(path)
    made = converter.convert(source)
    assert made.proof.passed and source.engine.startswith("TensorFlow")


def test_layers_that_keep_state_get_a_sentence():
    x = layers.Input([4, 3], batch_size=1, name="x")
    model = tf.keras.Model(x, layers.LSTM(2, stateful=True)(x))
    with pytest.raises(ConversionError, match=r"Assign.* changes a variable.*stateful=False"):
        converter.from_tensorflow(model)


SIZE, UNITS = 5, 4


def weights(*shape):
    return tf.constant(np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / 2)


def whole_sequence(op, steps, outputs, **attributes):
    """BlockLSTM or BlockLSTMV2 on x [time, batch, features]."""

    @tf.function(input_signature=[tf.TensorSpec([steps, 2, SIZE], tf.float32, name="x")])
    def function(x):
        zeros = tf.zeros([2, UNITS])
        found = op(
            seq_len_max=tf.constant(attributes.get("length", steps), tf.int64),
            x=x,
            cs_prev=zeros + 0.1,
            h_prev=zeros,
            w=weights(SIZE + UNITS, 4 * UNITS),
            wci=weights(UNITS),
            wcf=weights(UNITS) * 2,
            wco=weights(UNITS) * 3,
            b=weights(4 * UNITS),
            cell_clip=attributes.get("clip", 0.0),
            use_peephole=attributes.get("use_peephole", False),
        )
        return {name: getattr(found, name) + 0.0 for name in outputs}

    return function.get_concrete_function()


@pytest.mark.parametrize("steps", [6, 40])
@pytest.mark.parametrize("use_peephole", [False, True])
@pytest.mark.parametrize("op", [tf.raw_ops.BlockLSTM, tf.raw_ops.BlockLSTMV2])
def test_the_op_of_a_whole_sequence(op, use_peephole, steps):
    concrete = whole_sequence(op, steps, ["h"], use_peephole=use_peephole)
    made = converter.convert(TensorflowSource(concrete), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed
    assert [n.op for n in made.model.main.nodes].count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1


@pytest.mark.parametrize(
    "attributes",
    [{"clip": 0.2}, {"length": 4}, {"clip": 0.1, "use_peephole": True}],
    ids=lambda a: "-".join(a),
)
@pytest.mark.parametrize("op", [tf.raw_ops.BlockLSTM, tf.raw_ops.BlockLSTMV2])
def test_all_results_of_that_op(op, attributes):
    names = ["cs", "h"] + (["i", "f", "o", "ci", "co"] if "length" not in attributes else [])
    concrete = whole_sequence(op, 6, names, **attributes)
    made = converter.convert(TensorflowSource(concrete), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed


def test_the_ops_of_one_step():
    @tf.function(input_signature=[tf.TensorSpec([2, SIZE], tf.float32, name="x")])
    def function(x):
        state = tf.ones([2, UNITS]) / 3
        lstm = tf.raw_ops.LSTMBlockCell(
            x=x,
            cs_prev=state,
            h_prev=state * 2,
            w=weights(SIZE + UNITS, 4 * UNITS),
            wci=weights(UNITS),
            wcf=weights(UNITS) * 2,
            wco=weights(UNITS) * 3,
            b=weights(4 * UNITS),
            forget_bias=0.5,
            cell_clip=-1.0,
            use_peephole=True,
        )
        gru = tf.raw_ops.GRUBlockCell(
            x=x,
            h_prev=state,
            w_ru=weights(SIZE + UNITS, 2 * UNITS),
            w_c=weights(SIZE + UNITS, UNITS),
            b_ru=weights(2 * UNITS),
            b_c=weights(UNITS),
        )
        found = {f"l{k}": v + 0.0 for k, v in enumerate(lstm)}
        return found | {f"g{k}": v + 0.0 for k, v in enumerate(gru)}

    made = converter.convert(TensorflowSource(function.get_concrete_function()), tolerance=1e-5)
    assert made.proof is not None and made.proof.passed


def test_a_keras_file_that_is_cut_off(tmp_path):
    path = tmp_path / "m.keras"
    for content in (b"", b"PK\x03\x04 and no more"):
        path.write_bytes(content)
        with pytest.raises(
            converter.ConversionError, match=r"is no \.keras archive, or is cut off"
        ):
            converter.from_tensorflow(path)
