# SPDX-License-Identifier: Apache-2.0
"""``rillet inspect``."""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import runtime
from converter.ir import Model, Value
from rillet.errors import CommandError
from rillet.files import check_writable, read_bytes, write_atomically
from rillet.inputs import random_input
from rillet.sources import read_model
from rillet.tables import table
from rillet.tensors import constant_bytes, described, printable, quantization_text, shape_text
from runtime.metadata import ModelMetadata, TensorMetadata, read_metadata

LABELS_SHOWN = 3
RUNS, SECONDS = 30, 2.0  # of --profile, whichever comes first


def run(args: argparse.Namespace) -> dict[str, Any]:
    """What the file holds, and what the runtime needs to run it (or why it cannot)."""
    if args.html is not None:
        check_writable(args.html)
    content = read_bytes(args.model)
    model, metadata = read_model(args.model, content), read_metadata(content)
    interpreter, needs = _needs(args, model)
    runs = _profile(interpreter, model, needs) if args.profile else 0
    result: dict[str, Any] = {
        "model": args.model,
        "bytes": len(content),
        "description": model.description,
        "graphs": [
            {"name": g.name, "nodes": len(g.nodes), "tensors": sum(1 for _ in g.values())}
            for g in model.graphs
        ],
        "inputs": _border(model.main.inputs, metadata.inputs if metadata else []),
        "outputs": _border(model.main.outputs, metadata.outputs if metadata else []),
        "signatures": {
            s.key: {"inputs": list(s.inputs), "outputs": list(s.outputs)} for s in model.signatures
        },
        "metadata": sorted(model.metadata),
        "about": _about(metadata),
        "ops": _ops(model),
        "runtime": needs,
    }
    if args.tensors:
        result["tensors"] = [described(value) for value in model.main.values()]
    if interpreter is not None and (args.kernels or args.profile):
        result["runtime"]["kernels"] = _kernels(interpreter, bool(runs))
    if args.html:
        result["html"] = args.html
        _write_page(args, result, model, interpreter, runs)
    return result


def _write_page(
    args: argparse.Namespace,
    result: dict[str, Any],
    model: Model,
    interpreter: runtime.Interpreter | None,
    runs: int,
) -> None:
    from rillet.page.describe import graphs_of, memory_of
    from rillet.page.write import page

    name = Path(args.model).name
    keys = ("description", "inputs", "outputs", "signatures", "metadata", "about", "runtime")
    data = {key: result[key] for key in keys}
    data |= {"file": {"name": name, "bytes": result["bytes"]}, "runs": runs}
    data["graphs"] = graphs_of(model, interpreter, runs > 0)
    data["memory"] = interpreter and memory_of(model, interpreter, args.threads)
    content = page(data, name)
    write_atomically(args.html, lambda file: file.write(content))


def _border(values: list[Value], metadata: list[TensorMetadata]) -> list[dict[str, Any]]:
    """Inputs or outputs, with what the metadata says about each."""
    found = [described(value) for value in values]
    for tensor, said in zip(found, metadata, strict=False):
        if said.color or said.mean or said.std:
            tensor["image"] = {
                "color": said.color,
                "mean": [float(m) for m in said.mean],
                "std": [float(s) for s in said.std],
            }
        if said.labels:
            first = said.labels[:LABELS_SHOWN]
            tensor["labels"] = {"count": len(said.labels), "first": first}
    return found


def _about(metadata: ModelMetadata | None) -> dict[str, str]:
    keys = ("name", "description", "version", "author", "license")
    found = {key: getattr(metadata, key) for key in keys} if metadata else {}
    return {key: text for key, text in found.items() if text}


def _ops(model: Model) -> list[dict[str, Any]]:
    """Per op: how many nodes in all graphs, and the bytes of the constants they read first."""
    counts: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    seen: set[Value] = set()
    for graph in model.graphs:
        for node in graph.nodes:
            op = node.kind
            counts[op] += 1
            for value in node.inputs:
                if value is not None and value not in seen:
                    seen.add(value)
                    sizes[op] += constant_bytes(value)
    order = sorted(counts, key=lambda op: (-sizes[op], op))
    return [{"op": op, "nodes": counts[op], "constant_bytes": sizes[op]} for op in order]


def _needs(
    args: argparse.Namespace, model: Model
) -> tuple[runtime.Interpreter | None, dict[str, Any]]:
    """The model planned, and the bytes of every block for the ISA and threads asked for; nothing of
    it is allocated. None where it does not run, with the reason.
    """
    try:
        interpreter = runtime.Interpreter(
            args.model, num_threads=args.threads, isa=args.isa, profile=args.profile
        )
        memory, nodes = interpreter.memory(), interpreter.nodes()
    except runtime.RilletError as error:
        if error.status == "BAD_ARGUMENT":  # not the model's fault
            raise
        return None, {"runs": False, "why": f"{error.status}: {error}"}
    if not _reads_alike(model, interpreter):
        return None, {"runs": False, "why": "the file is damaged, it can be read in two ways"}
    isa = args.isa or os.environ.get("RILLET_ISA") or runtime.best_isa()
    needs: dict[str, Any] = {"runs": True, "isa": isa, "threads": args.threads, **memory}
    needs["extent"] = interpreter.extent()
    needs["scratch"] = args.threads * max((node["scratch"] for node in nodes), default=0)
    needs["macs"] = sum(node["macs"] for node in nodes)
    return interpreter, needs


def _reads_alike(model: Model, interpreter: runtime.Interpreter) -> bool:
    """Whether the runtime finds the nodes that the reader found; in a damaged file it may not."""
    ours = [[(len(n.inputs), len(n.outputs)) for n in graph.nodes] for graph in model.graphs]
    theirs = [
        [(len(n["inputs"]), len(n["outputs"])) for n in interpreter.nodes(i)]
        for i in range(interpreter.num_subgraphs())
    ]
    return ours == theirs


def _profile(interpreter: runtime.Interpreter | None, model: Model, needs: dict[str, Any]) -> int:
    """Run the model on random inputs; how often. CommandError where it does not run."""
    if interpreter is None:
        raise CommandError(f"--profile runs the model, which does not run here: {needs['why']}")
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail, value in zip(interpreter.get_input_details(), model.main.inputs, strict=True):
        interpreter.set_tensor(detail["index"], random_input(value, rng))
    start, runs = time.perf_counter(), 0
    while runs < RUNS and (not runs or time.perf_counter() - start < SECONDS):
        interpreter.invoke()
        runs += 1
    return runs


def _kernels(interpreter: runtime.Interpreter, timed: bool) -> list[dict[str, Any]]:
    keys = ["index", "op", "loop", "macs", "packed"] + ["microseconds"] * timed
    rows = interpreter.profile() if timed else interpreter.nodes()
    return [{key: row[key] for key in keys} for row in rows]


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    graphs = result["graphs"]
    lines = [
        f"{result['model']}: {result['bytes']:,} bytes, {graphs[0]['nodes']} nodes, "
        f"{graphs[0]['tensors']} tensors"
        + (f", {len(graphs) - 1} more graphs" if len(graphs) > 1 else "")
    ]
    lines += [f"{key:<7} {said}" for key, said in result["about"].items()]
    for kind in ("inputs", "outputs"):
        for tensor in result[kind]:
            lines += [f"{kind[:-1]:<7} {_one_line(tensor)}", *_said(tensor)]
    for key, names in result["signatures"].items():
        inputs, outputs = ", ".join(names["inputs"]), ", ".join(names["outputs"])
        lines.append(f"signature {key}({inputs}) -> {outputs}")
    if result["metadata"]:
        lines.append(f"metadata {', '.join(result['metadata'])}")
    rows = [[o["op"], o["nodes"], f"{o['constant_bytes']:,}"] for o in result["ops"]]
    lines += ["", table(["op", "nodes", "constant bytes"], rows), "", *_runtime(result["runtime"])]
    if args.tensors:
        rows = [
            [
                t["name"],
                t["dtype"],
                shape_text(t["shape"]),
                f"{t['constant_bytes']:,}",
                quantization_text(t),
            ]
            for t in result["tensors"]
        ]
        lines += ["", table(["tensor", "dtype", "shape", "constant bytes", "quantization"], rows)]
    if "html" in result:
        lines += ["", f"drawn in {result['html']}"]
    return printable("\n".join(lines))


def _runtime(needs: dict[str, Any]) -> list[str]:
    if not needs["runs"]:
        return [f"does not run here: {needs['why']}"]
    lines = [
        f"runs on {needs['isa']} with {needs['threads']} thread(s): "
        f"{needs['macs'] / 1e6:,.1f} million multiply-accumulates; needs",
        f"  model    {needs['model']:>13,} bytes, the file, used in place",
        f"  prepared {needs['prepared']:>13,} bytes, packed weights, shared by all interpreters",
        f"  arena    {needs['arena']:>13,} bytes, of which {needs['peak_live']:,} are alive at once"
        f" and at most {needs['scratch']:,} scratch",
        f"  and {needs['structure'] + needs['state']:,} bytes for its structure and state",
    ]
    if needs["extent"] == "bounded":
        lines.append("  some tensors turn out smaller when it runs")
    elif needs["extent"] == "unbounded":
        lines.append("  and more when it runs, for tensors whose size only their values tell")
    if "kernels" in needs:
        lines += ["", _kernel_table(needs["kernels"])]
    return lines


def _kernel_table(kernels: list[dict[str, Any]]) -> str:
    heads = ["node", "op", "loop", "macs", "packed bytes"]
    rows = [[k["index"], k["op"], k["loop"], f"{k['macs']:,}", f"{k['packed']:,}"] for k in kernels]
    if kernels and "microseconds" in kernels[0]:
        spent = [k["microseconds"] for k in kernels]
        heads += ["us", "share"]
        rows = [
            [*row, f"{us:.1f}", f"{us / (sum(spent) or 1):.1%}"]
            for row, us in zip(rows, spent, strict=True)
        ]
    return table(heads, rows)


def _one_line(tensor: dict[str, Any]) -> str:
    parts = [f"{tensor['name']} {tensor['dtype']} {shape_text(tensor['shape'])}"]
    return ", ".join([*parts, *filter(None, [quantization_text(tensor)])])


def _said(tensor: dict[str, Any]) -> list[str]:
    """Lines of what the metadata says about an input or output."""
    lines = []
    if "image" in tensor:
        image = tensor["image"]
        color, mean, std = image["color"], *(_numbers(image[key]) for key in ("mean", "std"))
        parts = [f"{color} photo"] * bool(color)
        parts += [f"(pixel - {mean}) / {std}"] * bool(mean or std)
        lines.append("        " + ", ".join(parts))
    if "labels" in tensor:
        count, first = tensor["labels"]["count"], tensor["labels"]["first"]
        more = "; ..." if count > len(first) else ""
        lines.append(f"        {count:,} labels: {'; '.join(first)}{more}")
    return lines


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{v:.6g}" for v in values)
    return shown if len(values) == 1 else f"[{shown}]" if values else ""
