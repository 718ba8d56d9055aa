# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: B905, UP032
"""Makes the frozen graphs in tests/converter/graphdefs with TensorFlow itself.

``python tests/converter/make_graphdefs.py`` under TensorFlow 2 makes those of Keras, under
TensorFlow 1.15 (Python 3.7) those of its own API. Beside each NAME.pb lies NAME.npz: the inputs,
and what TensorFlow computed from them, by tensor name.
"""

import os

import numpy as np
import tensorflow as tf

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "graphdefs")
RNG = np.random.RandomState(0)


def write(name, graph_def, inputs, outputs):
    with open(os.path.join(FOLDER, name + ".pb"), "wb") as file:
        file.write(graph_def.SerializeToString(deterministic=True))
    arrays = {"in " + key: value for key, value in inputs.items()}
    arrays.update(("out " + key, value) for key, value in outputs.items())
    np.savez_compressed(os.path.join(FOLDER, name + ".npz"), **arrays)
    print(name, len(graph_def.SerializeToString()), [n.op for n in graph_def.node][-1])


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# -- TensorFlow 2: Keras --


def keras_nets():
    layers = tf.keras.layers

    def conv(x, channels, kernel=3, stride=1, activation="relu6"):
        x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU(6.0)(x) if activation else x

    def inverted(x, channels, stride):
        wide = conv(x, x.shape[-1] * 3, 1)
        if stride == 2:
            wide = layers.ZeroPadding2D(((0, 1), (0, 1)))(wide)
        padding = "valid" if stride == 2 else "same"
        wide = layers.DepthwiseConv2D(3, stride, padding, use_bias=False)(wide)
        wide = layers.ReLU(6.0)(layers.BatchNormalization()(wide))
        out = conv(wide, channels, 1, activation=None)
        return layers.Add()([x, out]) if x.shape[-1] == channels and stride == 1 else out

    def mobilenet():
        image = layers.Input([32, 32, 3], name="image")
        x = conv(image, 8, stride=2)
        for channels, stride in ((8, 1), (12, 2), (12, 1)):
            x = inverted(x, channels, stride)
        x = layers.GlobalAveragePooling2D()(x)
        return (
            [image],
            layers.Dense(10, activation="softmax")(layers.Dropout(0.2)(x)),
            [normal(2, 32, 32, 3)],
        )

    def resnet():
        image = layers.Input([24, 24, 3], batch_size=1, name="image")
        x = layers.Conv2D(8, 7, 2, "same")(layers.Rescaling(1 / 127.5, -1)(image))
        x = layers.MaxPooling2D(3, 2, "same")(x)
        for channels, stride in ((8, 1), (16, 2)):
            y = conv(x, channels, 3, stride)
            y = conv(y, channels, activation=None)
            short = conv(x, channels, 1, stride, None) if stride == 2 else x
            x = layers.Activation("swish")(layers.Add()([y, short]))
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.Conv2DTranspose(4, 3, 2, "same")(x)
        x = layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="gelu")(x)
        x = layers.LayerNormalization()(x)
        return [image], layers.Dense(5)(layers.Flatten()(x)), [normal(1, 24, 24, 3) * 255]

    def recurrent(layer, length, batch=None):
        def build():
            x = layers.Input([length, 5], batch_size=batch, name="x")
            return [x], layers.Dense(3)(layer()(x)), [normal(batch or 2, length or 11, 5)]

        return build

    def text():
        ids = layers.Input([16], dtype="int32", name="ids")
        x = layers.Embedding(200, 12)(ids)
        y = layers.GlobalAveragePooling1D()(layers.Conv1D(8, 3, activation="relu")(x))
        z = layers.MultiHeadAttention(2, 6)(x, x)
        y = layers.Concatenate()([y, layers.GlobalMaxPooling1D()(z)])
        return (
            [ids],
            layers.Dense(4, activation="sigmoid")(y),
            [RNG.randint(0, 200, (3, 16)).astype(np.int32)],
        )

    nets = {
        "keras_mobilenet": mobilenet,
        "keras_resnet": resnet,
        "keras_lstm": recurrent(lambda: layers.LSTM(6, return_sequences=True), 12),
        "keras_lstm_long": recurrent(lambda: layers.LSTM(6), 40, 1),
        "keras_bidirectional": recurrent(lambda: layers.Bidirectional(layers.LSTM(4)), 7, 2),
        "keras_gru": recurrent(lambda: layers.GRU(6), 9, 2),
        "keras_text": text,
        "keras_any_length": recurrent(
            lambda: layers.Bidirectional(layers.LSTM(6, return_sequences=True)), None
        ),
    }
    for name, build in nets.items():
        tf.keras.utils.set_random_seed(1)
        inputs, output, values = build()
        model = tf.keras.Model(inputs, output)
        for weight in model.weights:
            if "variance" in weight.path:
                weight.assign(np.abs(normal(*weight.shape)) + 0.5)
            elif "seed" not in weight.path:
                weight.assign(normal(*weight.shape) * 0.3)
        freeze(name, model, inputs, values)


def freeze(name, model, inputs, values):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specs = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in inputs]
    concrete = tf.function(lambda *args: model(list(args))).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    outputs = frozen(*map(tf.constant, values))
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    write(
        name,
        frozen.graph.as_graph_def(),
        {t.op.name: v for t, v in zip(frozen.inputs, values)},
        {t.op.name: v.numpy() for t, v in zip(frozen.outputs, outputs)},
    )


# -- TensorFlow 1 --


def classic_nets():
    def mobilenet():
        x = tf.placeholder(tf.float32, [None, None, None, 3], name="image")
        for i, (channels, stride) in enumerate(((8, 2), (12, 2), (12, 1))):
            weights = tf.get_variable("w{}".format(i), [3, 3, x.shape[-1], 1])
            x = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME")
            x = tf.layers.conv2d(x, channels, 1, use_bias=False)
            x = tf.nn.relu6(tf.layers.batch_normalization(x, training=False, fused=True))
        x = tf.layers.conv2d(x, 8, 3, padding="same", dilation_rate=2, activation=tf.nn.relu)
        size = tf.shape(x)[1:3] * 2
        x = tf.image.resize_bilinear(x, size, align_corners=True)
        flat = tf.reshape(x, [tf.shape(x)[0], -1, 8])
        y = tf.nn.softmax(tf.reduce_mean(flat, 1), name="scores")
        best = tf.nn.top_k(y, 3)
        return {x_: normal(1, 16, 16, 3) for x_ in ["image"]}, [
            y.op.name,
            best.indices.op.name + ":1",
        ]

    def channels_first():
        x = tf.placeholder(tf.float32, [1, 3, 16, 16], name="image")
        w = tf.get_variable("w", [3, 3, 3, 8])
        y = tf.nn.bias_add(
            tf.nn.conv2d(x, w, [1, 1, 2, 2], "SAME", data_format="NCHW"),
            tf.get_variable("b", [8]),
            "NCHW",
        )
        scale = [tf.constant(np.abs(normal(8)) + 0.5) for _ in range(4)]
        y, _, _ = tf.nn.fused_batch_norm(
            y, scale[0], scale[1], scale[2], scale[3], is_training=False, data_format="NCHW"
        )
        y = tf.nn.max_pool(
            tf.nn.leaky_relu(y), [1, 1, 2, 2], [1, 1, 2, 2], "VALID", data_format="NCHW"
        )
        a, b = tf.split(y, 2, 1)
        y = tf.concat([a * 2, tf.reverse(b, [3])], 1)
        return {"image": normal(1, 3, 16, 16)}, [tf.reduce_max(y, [2, 3], name="scores").op.name]

    def dynamic_rnn(lengths):
        def build():
            x = tf.placeholder(tf.float32, [2, 40, 5], name="x")
            cell = tf.nn.rnn_cell.LSTMCell(6)
            given = {"x": normal(2, 40, 5)}
            sequence_length = None
            if lengths:
                sequence_length = tf.placeholder(tf.int32, [2], name="lengths")
                given["lengths"] = np.array([40, 17], np.int32)
            every, state = tf.nn.dynamic_rnn(cell, x, sequence_length, dtype=tf.float32)
            return given, [
                tf.identity(every, "every").op.name,
                tf.identity(state.c, "cell").op.name,
            ]

        return build

    def static_rnn():
        x = tf.placeholder(tf.float32, [None, 6, 5], name="x")
        cell = tf.nn.rnn_cell.MultiRNNCell(
            [tf.nn.rnn_cell.BasicLSTMCell(4), tf.nn.rnn_cell.GRUCell(3)]
        )
        every, _ = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)
        return {"x": normal(2, 6, 5)}, [
            tf.matmul(every[-1], tf.get_variable("w", [3, 2]), name="y").op.name
        ]

    def loops():
        x = tf.placeholder(tf.float32, [3], name="x")
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0)
        i, y = tf.while_loop(
            lambda i, v: tf.logical_and(i < 50, tf.reduce_max(v) < 100.0),
            lambda i, v: [i + 1, v * 1.5 + tf.abs(x)],
            [tf.constant(0), y],
        )
        return {"x": normal(3)}, [tf.identity(y, "y").op.name, tf.identity(i, "steps").op.name]

    def bidirectional():
        x = tf.placeholder(tf.float32, [None, 12, 4], name="x")
        lengths = tf.placeholder(tf.int32, [None], name="lengths")
        forward = tf.nn.rnn_cell.LSTMCell(5, use_peepholes=True, num_proj=3)
        both, _ = tf.nn.bidirectional_dynamic_rnn(
            forward, tf.nn.rnn_cell.GRUCell(4), x, lengths, dtype=tf.float32
        )
        given = {"x": normal(3, 12, 4), "lengths": np.array([12, 3, 7], np.int32)}
        return given, [tf.concat(both, 2, name="both").op.name]

    def map_and_scan():
        x = tf.placeholder(tf.float32, [2, None, 4], name="x")
        mapped = tf.map_fn(lambda row: tf.tanh(row) * 2.0, x)
        scanned = tf.scan(lambda a, row: a * 0.5 + row, tf.transpose(x, [1, 0, 2]))
        mapped, scanned = tf.identity(mapped, "mapped"), tf.identity(scanned, "scanned")
        return {"x": normal(2, 7, 4)}, [mapped.op.name, scanned.op.name]

    def boxes():
        ends = tf.placeholder(tf.float32, [20, 4], name="ends")
        scores = tf.placeholder(tf.float32, [20], name="scores")
        size = tf.exp(ends[:, 2:])
        corners = tf.concat([ends[:, :2] - size, ends[:, :2] + size], 1)
        chosen = tf.image.non_max_suppression(corners, scores, 8, 0.5, 0.1)
        given = {"ends": normal(20, 4), "scores": RNG.rand(20).astype(np.float32)}
        return given, [tf.gather(corners, chosen, name="chosen").op.name]

    nets = {
        "classic_mobilenet": mobilenet,
        "classic_channels_first": channels_first,
        "classic_dynamic_rnn": dynamic_rnn(False),
        "classic_dynamic_rnn_lengths": dynamic_rnn(True),
        "classic_static_rnn": static_rnn,
        "classic_loops": loops,
        "classic_bidirectional": bidirectional,
        "classic_map_and_scan": map_and_scan,
        "classic_boxes": boxes,
    }
    for name, build in nets.items():
        tf.reset_default_graph()
        tf.set_random_seed(1)
        inputs, outputs = build()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            names = [o.split(":")[0] for o in outputs]
            tensors = [o if ":" in o else o + ":0" for o in outputs]
            graph_def = tf.graph_util.convert_variables_to_constants(
                session, tf.get_default_graph().as_graph_def(), names
            )
        with tf.Graph().as_default():
            tf.import_graph_def(graph_def, name="")
            feeds = {key + ":0": value for key, value in inputs.items()}
            if name == "classic_channels_first":  # TensorFlow's CPU kernels lack this layout
                found = in_other_layout(graph_def, inputs, outputs)
            else:
                found = tf.Session().run(tensors, feeds)
        write(name, graph_def, inputs, dict(zip(outputs, found)))


def in_other_layout(graph_def, inputs, outputs):
    """What the same layers compute channels last."""
    from tensorflow.core.framework import graph_pb2

    turned = graph_pb2.GraphDef()
    for node in graph_def.node:
        layout = node.attr["data_format"].s if "data_format" in node.attr else b""
        new = turned.node.add()
        new.CopyFrom(node)
        if layout != b"NCHW":
            continue
        new.attr["data_format"].s = b"NHWC"
        for key in ("strides", "ksize", "dilations"):
            if key in new.attr:
                n, c, h, w = new.attr[key].list.i
                new.attr[key].list.i[:] = [n, h, w, c]
        last, first = turned.node.add(), turned.node.add()
        for added, perm, name in ((last, [0, 2, 3, 1], "/last"), (first, [0, 3, 1, 2], "")):
            values = turned.node.add()
            values.op, values.name = "Const", node.name + name + "/perm"
            values.attr["dtype"].type = tf.int32.as_datatype_enum
            values.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.array(perm, np.int32)))
            added.op, added.name = "Transpose", node.name + name
            added.attr["T"].type = tf.float32.as_datatype_enum
            added.attr["Tperm"].type = tf.int32.as_datatype_enum
        new.name = node.name + "/turned"
        last.input.extend([node.input[0], last.name + "/perm"])
        new.input[0] = last.name
        first.input.extend([new.name, first.name + "/perm"])
    with tf.Graph().as_default():
        tf.import_graph_def(turned, name="")
        feeds = {key + ":0": value for key, value in inputs.items()}
        return tf.Session().run([o + ":0" for o in outputs], feeds)


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    if tf.__version__.startswith("1."):
        classic_nets()
    else:
        keras_nets()
