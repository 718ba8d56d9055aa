# SPDX-License-Identifier: Apache-2.0
"""The messages of a GraphDef, from tensorflow/core/framework/{graph,node_def,attr_value,tensor,
tensor_shape,function,op_def,versions,variable}.proto, and of a MetaGraphDef, from
tensorflow/core/protobuf/{meta_graph,saver,saved_model}.proto. Fields that nothing here reads are
kept as they are.
"""

from __future__ import annotations

from typing import Any

from host_engine.graphdef.wire import Field, Message


def _one(name: str, kind: Any) -> Field:
    return Field(name, kind) if isinstance(kind, str) else Field(name, "message", kind)


def _many(name: str, kind: Any) -> Field:
    return _one(name, kind)._replace(repeated=True)


def _map(name: str, key: str, value: Any) -> Field:
    entry = type("Entry", (Message,), {"FIELDS": {1: _one("key", key), 2: _one("value", value)}})
    return Field(name, "map", entry)


class Dim(Message):
    FIELDS = {1: Field("size", "int64"), 2: Field("name", "string")}  # noqa: RUF012


class TensorShapeProto(Message):
    FIELDS = {2: _many("dim", Dim), 3: Field("unknown_rank", "bool")}  # noqa: RUF012


class TensorProto(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("dtype", "enum"),
        2: _one("tensor_shape", TensorShapeProto),
        3: Field("version_number", "int32"),
        4: Field("tensor_content", "bytes"),
        5: _many("float_val", "float"),
        6: _many("double_val", "double"),
        7: _many("int_val", "int32"),
        8: _many("string_val", "bytes"),
        9: _many("scomplex_val", "float"),
        10: _many("int64_val", "int64"),
        11: _many("bool_val", "bool"),
        12: _many("dcomplex_val", "double"),
        13: _many("half_val", "int32"),
        16: _many("uint32_val", "int64"),
        17: _many("uint64_val", "uint64"),
    }


class AttrValue(Message):
    """One of its fields is set; see :meth:`WhichOneof`."""

    def WhichOneof(self, group: str = "value") -> str | None:
        """Name of the field that is set; None where none is."""
        assert group == "value"
        for field in self.FIELDS.values():
            if self.HasField(field.name):
                return field.name
        return None


class NameAttrList(Message):
    FIELDS = {1: Field("name", "string"), 2: _map("attr", "string", AttrValue)}  # noqa: RUF012


class ListValue(Message):
    FIELDS = {  # noqa: RUF012
        2: _many("s", "bytes"),
        3: _many("i", "int64"),
        4: _many("f", "float"),
        5: _many("b", "bool"),
        6: _many("type", "enum"),
        7: _many("shape", TensorShapeProto),
        8: _many("tensor", TensorProto),
        9: _many("func", NameAttrList),
    }


AttrValue.FIELDS = {
    1: _one("list", ListValue),
    2: Field("s", "bytes"),
    3: Field("i", "int64"),
    4: Field("f", "float"),
    5: Field("b", "bool"),
    6: Field("type", "enum"),
    7: _one("shape", TensorShapeProto),
    8: _one("tensor", TensorProto),
    9: Field("placeholder", "string"),
    10: _one("func", NameAttrList),
}
AttrValue.__init_subclass__.__func__(AttrValue)  # type: ignore[attr-defined]


class NodeDef(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("name", "string"),
        2: Field("op", "string"),
        3: _many("input", "string"),
        4: Field("device", "string"),
        5: _map("attr", "string", AttrValue),
    }


class ArgDef(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("name", "string"),
        2: Field("description", "string"),
        3: Field("type", "enum"),
        4: Field("type_attr", "string"),
        5: Field("number_attr", "string"),
        6: Field("type_list_attr", "string"),
        16: Field("is_ref", "bool"),
    }


class OpDef(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("name", "string"),
        2: _many("input_arg", ArgDef),
        3: _many("output_arg", ArgDef),
        17: Field("is_stateful", "bool"),
    }


class FunctionDef(Message):
    FIELDS = {  # noqa: RUF012
        1: _one("signature", OpDef),
        3: _many("node_def", NodeDef),
        4: _map("ret", "string", "string"),
        5: _map("attr", "string", AttrValue),
        6: _map("control_ret", "string", "string"),
    }


class GradientDef(Message):
    FIELDS = {1: Field("function_name", "string"), 2: Field("gradient_func", "string")}  # noqa: RUF012


class FunctionDefLibrary(Message):
    FIELDS = {1: _many("function", FunctionDef), 2: _many("gradient", GradientDef)}  # noqa: RUF012


class VersionDef(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("producer", "int32"),
        2: Field("min_consumer", "int32"),
        3: _many("bad_consumers", "int32"),
    }


class GraphDef(Message):
    """A graph: `node`, `library.function`, `versions`."""

    FIELDS = {  # noqa: RUF012
        1: _many("node", NodeDef),
        2: _one("library", FunctionDefLibrary),
        3: Field("version", "int32"),
        4: _one("versions", VersionDef),
    }


class VariableDef(Message):
    """A variable in a collection: the names of its nodes."""

    FIELDS = {  # noqa: RUF012
        1: Field("variable_name", "string"),
        2: Field("initializer_name", "string"),
        3: Field("snapshot_name", "string"),
        5: Field("is_resource", "bool"),
        6: Field("initial_value_name", "string"),
        7: Field("trainable", "bool"),
    }


class NodeList(Message):
    FIELDS = {1: _many("value", "string")}  # noqa: RUF012


class BytesList(Message):
    FIELDS = {1: _many("value", "bytes")}  # noqa: RUF012


class CollectionDef(Message):
    """What a collection holds: names of nodes, or messages such as VariableDef."""

    FIELDS = {1: _one("node_list", NodeList), 2: _one("bytes_list", BytesList)}  # noqa: RUF012


class SaverDef(Message):
    """Names of the nodes that save and restore variables."""

    FIELDS = {  # noqa: RUF012
        1: Field("filename_tensor_name", "string"),
        2: Field("save_tensor_name", "string"),
        3: Field("restore_op_name", "string"),
        4: Field("max_to_keep", "int32"),
        6: Field("keep_checkpoint_every_n_hours", "float"),
        7: Field("version", "enum"),
    }


class MetaInfoDef(Message):
    FIELDS = {4: _many("tags", "string"), 5: Field("tensorflow_version", "string")}  # noqa: RUF012


class TensorInfo(Message):
    FIELDS = {  # noqa: RUF012
        1: Field("name", "string"),
        2: Field("dtype", "enum"),
        3: _one("tensor_shape", TensorShapeProto),
    }


class SignatureDef(Message):
    """A way to call a model: tensors by the names that callers use."""

    FIELDS = {  # noqa: RUF012
        1: _map("inputs", "string", TensorInfo),
        2: _map("outputs", "string", TensorInfo),
        3: Field("method_name", "string"),
    }


class MetaGraphDef(Message):
    """A graph with its collections and how its variables are saved."""

    FIELDS = {  # noqa: RUF012
        1: _one("meta_info_def", MetaInfoDef),
        2: _one("graph_def", GraphDef),
        3: _one("saver_def", SaverDef),
        4: _map("collection_def", "string", CollectionDef),
        5: _map("signature_def", "string", SignatureDef),
    }


class SavedModel(Message):
    """saved_model.pb of a SavedModel's folder."""

    FIELDS = {  # noqa: RUF012
        1: Field("saved_model_schema_version", "int64"),
        2: _many("meta_graphs", MetaGraphDef),
    }
