# SPDX-License-Identifier: Apache-2.0
"""A build for a few models: which kernels and inner loops their operators and tensor types need.

Kernels ask tables for their inner loops, so no linker can tell which are unused. What a kernel asks
for is read from its source, and from those of the files whose functions it calls.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import converter
from runtime.core.build import RUNTIME, Selection


class NodeKind(NamedTuple):
    """An operator (for custom ones "CUSTOM" and its code), the types of all tensors it has, whether
    one of them is stored sparsely, and the name of a composite that has a kernel of its own.
    """

    op: str
    custom: str | None
    types: frozenset[str]
    is_sparse: bool = False
    composite: str | None = None


# Records of ukernels.h, with the types that need them; without, scalar loops stand in.
REALS = {"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"}
BYTES = {"INT8", "UINT8", "INT16", "INT4", "UINT4", "INT2"}
PRODUCTS = {"f32_gemm": REALS, "f32_depthwise": REALS, "s8_gemm": BYTES, "s8_depthwise": BYTES}
FLOAT_LOOPS = {"unary", "binary", "largest", "smallest", "sum", "exp_of_difference"}
FLOAT_LOOPS |= {"sum_of_squares", "normalize"}
# Loops of loops.h whose names end so are for these types alone; others are kept whatever the types.
SUFFIXES = {
    "_i8": {"INT8", "INT4", "INT2"},
    "_i8_i32": {"INT8", "INT4", "INT2"},
    "_u8": {"UINT8", "UINT4"},
    "_u8_i32": {"UINT8", "UINT4"},
    "_i16": {"INT16"},
}


# On INT8 alone these never take the sums of int8 products, but finished bytes.
PLAIN = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
# Files whose rows RLT_BINARY_ROW makes, and who needs the rows of a C type.
ROW_FILES = {"binary", "binary_plain", "binary_quantized", "compare"}
C_TYPES = {
    "float": REALS - {"FLOAT64"},
    "double": {"FLOAT64"},
    "int8_t": {"INT8", "INT4", "INT2"},
    "uint8_t": {"UINT8", "UINT4", "BOOL"},
    "int16_t": {"INT16"},
    "uint16_t": {"UINT16", "FLOAT16", "BFLOAT16"},
    "int32_t": {"INT32"},
    "uint32_t": {"UINT32"},
    "int64_t": {"INT64"},
    "uint64_t": {"UINT64"},
    "rlt_string": {"STRING"},
}
# Types that core/widen.c runs as wider ones for some operators.
NARROW = {"FLOAT16", "BFLOAT16", "INT4", "UINT4", "INT2"}
# Files with a table of rows of an operator and a type each, and the macro that makes a row.
TABLES = {"binary": "ROW", "reduce_forms": "FORM"}


def node_kinds(models: Iterable[str | Path]) -> set[NodeKind]:
    """The operators of all models, each with every set of types it has there."""
    kinds, rows = set(), _kernel_rows()
    for path in models:
        for graph in converter.read_tflite(str(path)).graphs:
            for node in graph.nodes:
                values = [v for v in [*node.inputs, *node.outputs] if v is not None]
                types = frozenset(v.dtype for v in values)
                sparse = any(v.sparsity is not None for v in values)
                composite = node.kind if node.kind != node.op and not node.custom_code else None
                known = composite if composite in rows else None
                kinds.add(NodeKind(node.op, node.custom_code, types, sparse, known))
    return kinds


def select(kinds: set[NodeKind], work: Path) -> Selection:
    """What build_all needs for these operators and types; the files it names lie below `work`."""
    rows = _kernel_rows()
    symbols = {kind: rows[key] for kind in kinds if (key := _row_of(kind)) in rows}
    kernels = _closure({*symbols.values(), *_core_symbols()})
    texts = {
        "selected_kernels.def": _definitions(kinds),
        "selection.h": _rows(kinds),
        "lacking.h": _lacking(symbols),
        "selected_types.h": _types(symbols),
    }
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:16]
    folder = work / "selections" / digest
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return Selection(frozenset(kernels), folder, _needs_sums(symbols), _lacking_core(kinds))


# ---- what the sources say ----


def _text(path: Path) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)


def _row_of(kind: NodeKind) -> str:
    """The row of kernels.def that runs it; a composite's kernel leaves the rest to the core."""
    return kind.composite or kind.custom or kind.op


def _kernel_rows() -> dict[str, str]:
    """Operator, custom code or composite -> the symbol of its kernel."""
    text = _text(RUNTIME / "core" / "kernels.def")
    return dict(
        re.findall(r'^RLT_(?:CUSTOM_|COMPOSITE_)?KERNEL\("?([\w.]+)"?, (\w+)\)', text, re.M)
    )


@functools.cache
def _sources() -> dict[str, str]:
    return {path.stem: _text(path) for path in sorted((RUNTIME / "kernels").glob("*.c"))}


@functools.cache
def owners() -> dict[str, str]:
    """Symbol that other files can see -> the kernel file (its stem) that defines it."""
    found = {}
    for stem, text in _sources().items():
        for line in re.findall(r"^(?!static|typedef|extern|#|return)\w[^\n;]*", text, re.M):
            if name := re.match(r"[\w *]*?\b(rlt_\w+)\s*(?:\(|=|\[)", line):
                found[name[1]] = stem
        if "rlt_kernel_##" in text:
            for name in re.findall(r"^[A-Z_]+\((\w+)\s*,", text, re.M):
                found[f"rlt_kernel_{name}"] = stem
    return found


def _closure(symbols: set[str]) -> set[str]:
    """Stems of the kernel files that define these symbols, and of all whose functions they use."""
    found: set[str] = set()
    todo = {owners()[name] for name in symbols if name in owners()}
    while todo:
        stem = todo.pop()
        found.add(stem)
        used = set(re.findall(r"\brlt_\w+", _sources()[stem] + _macros()))
        todo |= {owners()[name] for name in used if name in owners()} - found
    return found


@functools.cache
def _macros() -> str:
    """Bodies of macros and inline functions in the kernels' headers: any file may use them."""
    texts = [_text(path) for path in sorted((RUNTIME / "kernels").glob("*.h"))]
    macros = [m for t in texts for m in re.findall(r"^#define(?:.*\\\n)*.*", t, re.M)]
    return "\n".join(
        macros + [m for t in texts for m in re.findall(r"^static inline.*?^}", t, re.M | re.S)]
    )


@functools.cache
def _core() -> str:
    return "\n".join(_text(path) for path in sorted((RUNTIME / "core").glob("*.c")))


def _core_symbols() -> set[str]:
    return set(re.findall(r"\brlt_\w+", _core())) & set(owners())


@functools.cache
def loop_names() -> dict[str, list[str]]:
    """Field of rlt_loops -> the functions in it, from the table of loops.inc."""
    text = _text(RUNTIME / "simd" / "loops.inc").replace("\\\n", " ")
    body = re.search(r"#define RLT_LOOPS_OF\(isa\)[^{]*\{[^,]*,(.*)\}", text)
    assert body is not None
    unary, binary, rest = re.match(r"\s*\{(.*?)\},\s*\{(.*?)\},(.*)", body[1], re.S).groups()  # type: ignore[union-attr]
    names = {name: [name] for name in re.findall(r"\w+", rest)}
    return {"unary": re.findall(r"\w+", unary), "binary": re.findall(r"\w+", binary), **names}


def _asked(stem: str, kind: NodeKind) -> set[str]:
    """What a source may ask the tables of loops for on behalf of a kind of node."""
    text = _sources()[stem] if stem else _core()
    fields = set(loop_names()) | set(PRODUCTS)
    found = set(re.findall(r"(?:->|\.)\s*(\w+)", text)) & fields
    for prefix in re.findall(r"(?:->|\.)\s*(\w+_)\s*##", text):
        found |= {field for field in fields if field.startswith(prefix)}
    wanted = {field for field in found if _wanted(field, kind.types)}
    if kind.op != "MUL":
        wanted -= {"product_i8", "product_u8"}
    for group in wanted & {"unary", "binary"}:
        wanted |= _entries(text, group, kind.op)
    return wanted - {"unary", "binary"}


def _entries(text: str, group: str, op: str) -> set[str]:
    """Functions of a group that a source names. One that serves several operators names the loops
    of all of them, and takes the one that is called as the operator."""
    named = set(re.findall(r"\bRLT_LOOP_(\w+)", text))
    if "RLT_LOOP_##" in text:
        named.add(op)
    if "rlt_kernel_##" in text:
        named -= set(_kernel_rows()) - {op}
    order = re.findall(r"\bRLT_LOOP_(\w+)", _loop_lists(group))
    return {loop_names()[group][i] for i, name in enumerate(order) if name in named}


def _loop_lists(group: str) -> str:
    text = _text(RUNTIME / "simd" / "loops.h")
    found = re.search(rf"typedef enum rlt_{group}_op \{{(.*?)\}}", text, re.S)
    assert found is not None
    return found[1]


def _wanted(field: str, types: frozenset[str]) -> bool:
    """Whether nodes of these types may need what a table has in `field`."""
    if field in PRODUCTS:
        return bool(types & PRODUCTS[field])
    if field in FLOAT_LOOPS or field.endswith(("_f32", "_f64")):
        return bool(types & REALS)
    for suffix, needs in SUFFIXES.items():
        if field.endswith(suffix):
            return bool(types & needs)
    return True


# ---- what the C sources are told ----


def _lacking(symbols: dict[NodeKind, str]) -> str:
    kept = set()
    for kind, symbol in symbols.items():
        for stem in ["", *_closure({symbol})]:
            kept |= _asked(stem, kind)
    lines = [f"#define RLT_LACKS_{field}" for field in PRODUCTS if field not in kept]
    for names in loop_names().values():
        lines += [f"#define {name} ((void *)0)" for name in names if name not in kept]
    return "\n".join(lines) + "\n"


def _lacking_core(kinds: set[NodeKind]) -> frozenset[str]:
    """Files of the core that none of these kinds of nodes needs."""
    lacks = set()
    if not any(kind.is_sparse for kind in kinds):
        lacks.add("sparse")
    if not any(kind.types & NARROW for kind in kinds):
        lacks.add("widen")
    return frozenset(lacks)


def _needs_sums(symbols: dict[NodeKind, str]) -> bool:
    """Whether any node takes the sums of int8 products."""
    for kind, symbol in symbols.items():
        plain = kind.op in PLAIN and kind.types <= {"INT8", "INT32"}
        if not plain and any("s8_gemm" in _sources()[stem] for stem in _closure({symbol})):
            return True
    return False


def _types(symbols: dict[NodeKind, str]) -> str:
    in_rows = [kind for kind, symbol in symbols.items() if owners().get(symbol) in ROW_FILES]
    types = {name for kind in in_rows for name in kind.types}
    lines = [f"#define RLT_HAS_{c} {int(bool(types & names))}" for c, names in C_TYPES.items()]
    for stem, macro in TABLES.items():
        for op, name in re.findall(rf"^ *{macro}\((\w+), (\w+)", _sources()[stem], re.M):
            has = any(kind.op == op and name in kind.types for kind in symbols)
            lines.append(f"#define RLT_HAS_{op}_{name} {int(has)}")
    return "\n".join(lines) + "\n"


def _definitions(kinds: set[NodeKind]) -> str:
    text = (RUNTIME / "core" / "kernels.def").read_text()
    names = {kind.custom or kind.op for kind in kinds} | {kind.composite for kind in kinds}
    lines = [line for line in text.splitlines() if line.startswith("RLT_")]
    kept = [line for line in lines if re.split(r'[("]+|[",]+', line)[1] in names]
    return "\n".join(kept) + "\n"


def _rows(kinds: set[NodeKind]) -> str:
    lines = []
    plain = {kind[:3] for kind in kinds}
    for op, custom, types in sorted(plain, key=lambda k: (k[0], k[1] or "", sorted(k[2]))):
        bits = " | ".join(f"(uint64_t)1 << RLT_TYPE_{name}" for name in sorted(types)) or "0"
        code = "NULL" if custom is None else '"' + re.sub(r'(["\\])', r"\\\1", custom) + '"'
        lines.append(f"RLT_SELECTED({op}, {code}, {bits})")
    return "\n".join(lines) + "\n"


def unknown(kinds: Sequence[NodeKind]) -> list[str]:
    """Operators among these that the runtime has no kernel for, sorted."""
    rows = _kernel_rows()
    return sorted({kind.custom or kind.op for kind in kinds} - set(rows))
