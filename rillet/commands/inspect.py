# SPDX-License-Identifier: Apache-2.0
"""``rillet inspect``."""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from typing import Any

import runtime
from converter.ir import Model, Value
from rillet.files import read_bytes
from rillet.sources import read_model
from rillet.tables import table


def run(args: argparse.Namespace) -> dict[str, Any]:
    """What the file holds, and what the runtime needs to run it (or why it cannot)."""
    content = read_bytes(args.model)
    model = read_model(args.model, content)
    result: dict[str, Any] = {
        "model": args.model,
        "bytes": len(content),
        "description": model.description,
        "graphs": [
            {"name": g.name, "nodes": len(g.nodes), "tensors": sum(1 for _ in g.values())}
            for g in model.graphs
        ],
        "inputs": [_tensor(value) for value in model.main.inputs],
        "outputs": [_tensor(value) for value in model.main.outputs],
        "signatures": {
            s.key: {"inputs": list(s.inputs), "outputs": list(s.outputs)} for s in model.signatures
        },
        "metadata": sorted(model.metadata),
        "ops": _ops(model),
        "runtime": _needs(args),
    }
    if args.tensors:
        result["tensors"] = [_tensor(value) for value in model.main.values()]
    return result


def _tensor(value: Value) -> dict[str, Any]:
    quant = value.quant
    described: dict[str, Any] = {
        "name": value.name,
        "dtype": value.dtype,
        "shape": list(value.shape_signature or value.shape),
        "constant_bytes": _bytes(value),
        "scales": 0,
    }
    if quant is not None and quant.scale.size:
        described |= {"scales": int(quant.scale.size), "scale": float(quant.scale[0])}
        described |= {"zero_point": int(quant.zero_point[0]), "axis": quant.axis}
    return described


def _bytes(value: Value) -> int:
    if value.data is None:
        return 0
    if value.data.dtype == object:
        return sum(len(item) for item in value.data.ravel())
    return int(value.data.nbytes)


def _ops(model: Model) -> list[dict[str, Any]]:
    """Per op: how many nodes in all graphs, and the bytes of the constants they read first."""
    counts: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    seen: set[Value] = set()
    for graph in model.graphs:
        for node in graph.nodes:
            op = node.custom_code or node.op
            counts[op] += 1
            for value in node.inputs:
                if value is not None and value not in seen:
                    seen.add(value)
                    sizes[op] += _bytes(value)
    order = sorted(counts, key=lambda op: (-sizes[op], op))
    return [{"op": op, "nodes": counts[op], "constant_bytes": sizes[op]} for op in order]


def _needs(args: argparse.Namespace) -> dict[str, Any]:
    """Bytes of every block for the ISA and threads asked for; nothing of it is allocated."""
    try:
        interpreter = runtime.Interpreter(args.model, num_threads=args.threads, isa=args.isa)
        memory, nodes = interpreter.memory(), interpreter.nodes()
    except runtime.RilletError as error:
        if error.status == "BAD_ARGUMENT":  # not the model's fault
            raise
        return {"runs": False, "why": f"{error.status}: {error}"}
    isa = args.isa or os.environ.get("RILLET_ISA") or runtime.best_isa()
    needs: dict[str, Any] = {"runs": True, "isa": isa, "threads": args.threads, **memory}
    needs["extent"] = interpreter.extent()
    needs["scratch"] = args.threads * max((node["scratch"] for node in nodes), default=0)
    needs["macs"] = sum(node["macs"] for node in nodes)
    if args.kernels:
        needs["kernels"] = [
            {key: node[key] for key in ("index", "op", "loop", "macs", "packed")} for node in nodes
        ]
    return needs


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    graphs = result["graphs"]
    lines = [
        f"{result['model']}: {result['bytes']:,} bytes, {graphs[0]['nodes']} nodes, "
        f"{graphs[0]['tensors']} tensors"
        + (f", {len(graphs) - 1} more graphs" if len(graphs) > 1 else "")
    ]
    for kind in ("inputs", "outputs"):
        lines += [f"{kind[:-1]:<7} {_one_line(tensor)}" for tensor in result[kind]]
    for key, names in result["signatures"].items():
        inputs, outputs = ", ".join(names["inputs"]), ", ".join(names["outputs"])
        lines.append(f"signature {key}({inputs}) -> {outputs}")
    if result["metadata"]:
        lines.append(f"metadata {', '.join(result['metadata'])}")
    rows = [[o["op"], o["nodes"], f"{o['constant_bytes']:,}"] for o in result["ops"]]
    lines += ["", table(["op", "nodes", "constant bytes"], rows), "", *_runtime(result["runtime"])]
    if args.tensors:
        rows = [
            [t["name"], t["dtype"], _shape(t), f"{t['constant_bytes']:,}", _quantization(t)]
            for t in result["tensors"]
        ]
        lines += ["", table(["tensor", "dtype", "shape", "constant bytes", "quantization"], rows)]
    return "\n".join(lines)


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
        rows = [
            [k["index"], k["op"], k["loop"], f"{k['macs']:,}", f"{k['packed']:,}"]
            for k in needs["kernels"]
        ]
        lines += ["", table(["node", "op", "loop", "macs", "packed bytes"], rows)]
    return lines


def _one_line(tensor: dict[str, Any]) -> str:
    quantization = _quantization(tensor)
    return f"{tensor['name']} {tensor['dtype']} {_shape(tensor)}" + (
        f", {quantization}" if quantization else ""
    )


def _shape(tensor: dict[str, Any]) -> str:
    return "x".join("?" if n == -1 else str(n) for n in tensor["shape"]) or "scalar"


def _quantization(tensor: dict[str, Any]) -> str:
    if not tensor["scales"]:
        return ""
    if tensor["scales"] > 1:
        return f"{tensor['scales']} scales along axis {tensor['axis']}"
    return f"scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"
