# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: round trips, layout, damage, and the files kept."""

import os

import numpy as np
import pytest

import host_engine as tf
from host_engine import bundle
from host_engine.crc32c import crc32c, masked


def variables():
    return [
        tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3), name="scope/w"),
        tf.Variable(7, dtype=tf.int64, name="step"),
        tf.Variable([True, False], name="flags"),
        tf.Variable(np.zeros((0, 2)), name="empty"),
    ]


def test_checksums():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    data = np.random.default_rng(0).integers(0, 256, 5003, dtype=np.uint8)
    for size in (511, 512, 513, 1000, 5003):
        # Pieces shorter than the vectorized path join to the same value by definition of a CRC.
        crc = 0xFFFFFFFF
        for byte in data[:size].tolist():
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        assert crc32c(data[:size]) == crc ^ 0xFFFFFFFF


def test_save_and_restore(tmp_path):
    made = variables()
    saver = tf.train.Saver()
    path = str(tmp_path / "model.ckpt")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(made)
        assert saver.save(session, path) == path
        session.run(made[1].assign_add(1))
        saver.restore(session, path)
        assert session.run(made[1]) == 7
    with tf.Session() as fresh:
        saver.restore(fresh, path)
        for old, new in zip(before, fresh.run(made), strict=True):
            np.testing.assert_array_equal(old, new)
            assert np.asarray(old).dtype == np.asarray(new).dtype
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index",
        "model.ckpt.meta",
    ]  # fmt: skip
    assert tf.train.list_variables(path)[2] == ("scope/w", [2, 3])
    assert tf.train.load_variable(str(tmp_path), "step:0") == 7


def test_the_layout_is_tensorflows(tmp_path):
    """Byte for byte the index that TensorFlow reads: header, entries in order, footer."""
    bundle.write(tmp_path / "m", {"b": np.float32([5, 6]), "a": np.int64(7)})
    index = (tmp_path / "m.index").read_bytes()
    raw = np.int64(7).tobytes() + np.float32([5, 6]).tobytes()
    assert (tmp_path / "m.data-00000-of-00001").read_bytes() == raw
    entry_a = b"\x08\x09\x12\x00\x28\x08\x35" + masked(raw[:8]).to_bytes(4, "little")
    entry_b = b"\x08\x01\x12\x04\x12\x02\x08\x02\x20\x08\x28\x08\x35" + masked(raw[8:]).to_bytes(
        4, "little"
    )
    block = b"\0\0\x06\x08\x01\x1a\x02\x08\x01"
    block += b"\0\1" + bytes([len(entry_a)]) + b"a" + entry_a
    block += b"\0\1" + bytes([len(entry_b)]) + b"b" + entry_b
    assert index.startswith(block + b"\0\0\0\0\1\0\0\0\0")
    assert index.endswith(bytes.fromhex("57fb808b247547db"))


def test_steps_and_the_files_kept(tmp_path):
    v = tf.Variable(0)
    saver = tf.train.Saver([v], max_to_keep=2)
    path = str(tmp_path / "m")
    with tf.Session() as session:
        session.run(v.initializer)
        for step in (1, 2, 3):
            session.run(v.assign(step))
            assert saver.save(session, path, global_step=v) == f"{path}-{step}"
        assert saver.last_checkpoints == [f"{path}-2", f"{path}-3"]
        assert tf.train.latest_checkpoint(str(tmp_path)) == f"{path}-3"
        saver.restore(session, f"{path}-2")
        assert session.run(v) == 2
    assert not tf.train.checkpoint_exists(f"{path}-1")
    assert len(os.listdir(tmp_path)) == 7
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert state.model_checkpoint_path == f"{path}-3"
    assert state.all_model_checkpoint_paths == [f"{path}-2", f"{path}-3"]


def test_relative_paths_move_with_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("run")
    v = tf.Variable(3)
    with tf.Session() as session:
        session.run(v.initializer)
        tf.train.Saver().save(session, "run/m", global_step=9)
    text = 'model_checkpoint_path: "m-9"\nall_model_checkpoint_paths: "m-9"\n'
    assert (tmp_path / "run/checkpoint").read_text() == text
    os.rename("run", "moved")
    assert tf.train.latest_checkpoint("moved") == "moved/m-9"


def test_other_names_and_lists(tmp_path):
    v, w = tf.Variable(1.0, name="v"), tf.Variable(2.0, name="w")
    path = str(tmp_path / "m")
    with tf.Session() as session:
        session.run([v.initializer, w.initializer])
        tf.train.Saver({"renamed": v}).save(session, path)
        tf.train.Saver({"renamed": w}).restore(session, path)
        assert session.run(w) == 1.0
        with pytest.raises(tf.errors.NotFoundError, match="Key v not found in checkpoint"):
            tf.train.Saver([v]).restore(session, path)


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="No variables to save"):
        tf.train.Saver()
    with pytest.raises(TypeError, match="Variable to save is not a Variable"):
        tf.train.Saver([tf.constant(1)])
    v = tf.Variable(1.0, name="v")
    with pytest.raises(ValueError, match="At least two variables have the same name: v"):
        tf.train.Saver([v, v])
    saver = tf.train.Saver()
    with tf.Session() as session:
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v"):
            saver.save(session, str(tmp_path / "m"))
        session.run(v.initializer)
        with pytest.raises(ValueError, match=r"Parent directory of .* doesn't exist, can't save"):
            saver.save(session, str(tmp_path / "missing/m"))
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_restored(tmp_path):
    tf.Variable([1.0, 2.0], name="v")
    path = str(tmp_path / "m")
    with tf.Session() as session:
        saver = tf.train.Saver()
        with pytest.raises(ValueError, match="The passed save_path is not a valid checkpoint: "):
            saver.restore(session, path)
        with pytest.raises(ValueError, match="Can't load save_path when it is None"):
            saver.restore(session, None)
        bundle.write(path, {"v": np.float32([1, 2, 3])})
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            saver.restore(session, path)
        assert caught.value.message == (
            "Assign requires shapes of both tensors to match. lhs shape= [2] rhs shape= [3]"
        )
        bundle.write(path, {"v": np.float64([1, 2])})
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected dtype float32"):
            saver.restore(session, path)
    assert tf.train.latest_checkpoint(str(tmp_path)) is None
    with pytest.raises(tf.errors.NotFoundError, match="Couldn't find a checkpoint in"):
        tf.train.load_checkpoint(str(tmp_path))


def test_a_write_that_fails_leaves_the_old_files(tmp_path):
    path = str(tmp_path / "m")
    bundle.write(path, {"v": np.float32([1, 2])})
    with pytest.raises(tf.errors.UnimplementedError, match="Tensor v holds strings"):
        bundle.write(path, {"a": np.float32(3), "v": np.array([b"x"], object)})
    assert bundle.Reader(path).read("v").tolist() == [1, 2]
    assert len(os.listdir(tmp_path)) == 2


def test_damaged_files_say_so(tmp_path):
    """Every byte of a checkpoint flipped, and both files cut at every length."""
    path = tmp_path / "m"
    tensors = {"v": np.float32([1, 2, 3]), "w": np.int32([[4]])}
    bundle.write(path, tensors)
    accepted = 0
    for name in ("m.index", "m.data-00000-of-00001"):
        whole = (tmp_path / name).read_bytes()
        broken = [whole[:size] for size in range(len(whole))]
        broken += [whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :] for i in range(len(whole))]
        for data in broken:
            (tmp_path / name).write_bytes(data)
            try:
                reader = bundle.Reader(path)
                values = {key: reader.read(key) for key in tensors}
            except (tf.errors.DataLossError, tf.errors.NotFoundError):
                continue
            # Only the footer's padding is covered by no checksum.
            accepted += 1
            assert all(np.array_equal(values[k], tensors[k]) for k in tensors)
        (tmp_path / name).write_bytes(whole)
    assert accepted <= 40 - 4


def test_large_tensors(tmp_path):
    value = np.random.default_rng(0).standard_normal((300, 1000)).astype(np.float32)
    bundle.write(tmp_path / "m", {"v": value, "transposed": value.T})
    reader = bundle.Reader(tmp_path / "m")
    assert np.array_equal(reader.read("v"), value)
    assert np.array_equal(reader.read("transposed"), value.T)


def test_safetensors(tmp_path):
    made = variables()
    path = tmp_path / "m.safetensors"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(made)
        tf.train.save_safetensors(session, path)
        session.run(made[1].assign_add(1))
        tf.train.load_safetensors(session, path)
        for old, new in zip(before, session.run(made), strict=True):
            np.testing.assert_array_equal(old, new)
        tf.Variable(0, name="more")
        with pytest.raises(tf.errors.NotFoundError, match="Key more not found in"):
            tf.train.load_safetensors(session, path)
    whole = path.read_bytes()
    for size in (0, 7, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(tf.errors.DataLossError, match="not a whole safetensors file"):
            tf.train.read_safetensors(path)


def test_safetensors_files_are_read_by_their_own_package(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    w = tf.Variable([[1.0, 2.0]], name="w")
    with tf.Session() as session:
        session.run(w.initializer)
        tf.train.save_safetensors(session, tmp_path / "m")
    assert library.load_file(tmp_path / "m")["w"].tolist() == [[1, 2]]
    library.save_file({"w": np.float32([[3, 4]])}, tmp_path / "n")
    assert tf.train.read_safetensors(tmp_path / "n")["w"].tolist() == [[3, 4]]
