# SPDX-License-Identifier: Apache-2.0
"""The schema table against two sets of generated accessors, and the C header made from it."""

from __future__ import annotations

import importlib
import re
from types import SimpleNamespace

import pytest
from ai_edge_litert import schema_py_generated as litert

from converter import gen_c_schema, schema


def _tflite_names() -> SimpleNamespace:
    """The `tflite` package as one flat namespace, as LiteRT's accessors are."""
    names = {}
    for name in (*schema.TABLES, *schema.ENUMS):
        try:
            names.update(vars(importlib.import_module(f"tflite.{name}")))
        except ModuleNotFoundError:
            continue
    return SimpleNamespace(**names)


PEERS = {"litert": litert, "tflite": _tflite_names()}


class RecordingBuilder:
    """Stands in for flatbuffers.Builder and records what generated code asks of it."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, method):
        return lambda *args: self.calls.append((method, *args))


def camel(name):
    return re.sub(r"(?:^|_)([a-z0-9])", lambda m: m.group(1).upper(), name)


def slots_of(table):
    """(name, builder method, slot, default) for every slot of our table."""
    kinds = {"byte": "Int8", "ubyte": "Uint8", "int": "Int32", "uint": "Uint32", "long": "Int64"}
    kinds |= {"ulong": "Uint64", "bool": "Bool", "float": "Float32"}
    for item in schema.fields(table):
        if item.kind in ("scalar", "enum"):
            default = item.default
            if item.kind == "enum":
                default = schema.ENUMS[item.type].values[default]
            yield item.name, f"Prepend{kinds[item.base]}Slot", item.slot, default
        else:
            if item.kind == "union":
                yield f"{item.name}_type", "PrependUint8Slot", item.slot - 1, 0
            yield item.name, "PrependUOffsetTRelativeSlot", item.slot, 0


@pytest.mark.parametrize("peer", PEERS)
def test_every_field_has_the_peers_slot_type_and_default(peer):
    module, compared = PEERS[peer], 0
    for table in schema.TABLES:
        if not hasattr(module, f"{table}Start"):
            assert peer == "tflite", f"LiteRT knows no table {table}"
            continue
        start = RecordingBuilder()
        getattr(module, f"{table}Start")(start)
        peer_slots = start.calls[0][1]
        ours = list(slots_of(table))
        if peer == "litert":
            assert peer_slots == max([slot + 1 for _, _, slot, _ in ours], default=0), table
        for name, method, slot, default in ours:
            if slot >= peer_slots:
                continue  # newer than the peer
            builder = RecordingBuilder()
            getattr(module, f"{table}Add{camel(name)}")(builder, 1)
            (call,) = builder.calls
            assert (call[0], call[1], call[3]) == (method, slot, default), (table, name)
            compared += 1
    assert compared > 200


@pytest.mark.parametrize("peer", PEERS)
def test_no_field_of_the_peer_is_missing(peer):
    module = PEERS[peer]
    for function in dir(module):
        found = re.fullmatch(r"([A-Za-z0-9]+?)Add([A-Z][A-Za-z0-9]*)", function)
        if found and found[1] in schema.TABLES:
            names = {camel(name) for name, *_ in slots_of(found[1])}
            assert found[2] in names, function


@pytest.mark.parametrize("peer", PEERS)
def test_every_enum_value_is_the_peers(peer):
    module = PEERS[peer]
    for name, enum in schema.ENUMS.items():
        if not hasattr(module, name):
            assert peer == "tflite"
            continue
        theirs = {k: v for k, v in vars(getattr(module, name)).items() if not k.startswith("_")}
        ours = enum.values
        if peer == "tflite":  # an older schema: everything it has, we have
            ours = {k: v for k, v in ours.items() if k in theirs}
        assert ours == theirs, name


def test_litert_has_no_table_or_enum_that_we_lack():
    tables = {name[:-5] for name in dir(litert) if name.endswith("Start")}
    tables = {name for name in tables if hasattr(litert, name)}
    assert tables == set(schema.TABLES)
    creators = {name[:-7] for name in dir(litert) if name.endswith("Creator")}
    assert creators == schema.UNIONS


def test_union_members_are_tables():
    for union in schema.UNIONS:
        members = schema.ENUMS[union].members
        assert members[0] == "NONE"
        assert set(members[1:]) <= set(schema.TABLES)


def test_every_options_table_belongs_to_an_op():
    ops = schema.ENUMS["BuiltinOperator"].members
    used = {schema.options_of(op) for op in ops} - {None}
    members = {m for u in ("BuiltinOptions", "BuiltinOptions2") for m in schema.ENUMS[u].members}
    assert used == members - {"NONE"}


def test_vector_element_types_match_the_peers_accessors():
    """Builders see vectors only as offsets, so element sizes come from StartXVector."""
    sizes = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4}
    for table in schema.TABLES:
        for item in schema.fields(table):
            if item.kind != "vector":
                continue
            builder = RecordingBuilder()
            getattr(litert, f"{table}Start{camel(item.name)}Vector")(builder, 3)
            size = 4 if item.base not in schema.SCALARS else sizes[schema.SCALARS[item.base]]
            assert builder.calls == [("StartVector", size, 3, size)], (table, item.name)


def test_c_header_in_the_repository_is_up_to_date():
    assert gen_c_schema.HEADER.read_text(encoding="ascii") == gen_c_schema.c_header(), (
        "run `python -m converter.gen_c_schema`"
    )


def test_c_header_constants():
    header = gen_c_schema.c_header()
    for line in (
        "    RLT_OP_CONV_2D = 3,",
        "    RLT_TYPE_INT8 = 9,",
        "    RLT_ACT_RELU6 = 3,",
        "    RLT_PADDING_VALID = 1,",
        "    RLT_OPTIONS_Conv2DOptions = 1,",
        "#define RLT_SLOT_Model_subgraphs 2",
        "#define RLT_SLOT_Operator_builtin_options_type 3",
        "#define RLT_DEFAULT_Conv2DOptions_dilation_w_factor 1",
        "#define RLT_DEFAULT_Operator_debug_metadata_index (-1)",
    ):
        assert line in header.splitlines()
    names = re.findall(r"(?:#define |^ {4})(RLT_\w+)", header, re.M)
    assert len(names) == len(set(names)), "two constants share a name"
