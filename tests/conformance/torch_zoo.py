# SPDX-License-Identifier: Apache-2.0
"""Networks of torchvision, timm and transformers, converted and compared with PyTorch.

    python tests/conformance/torch_zoo.py [PATTERN] [--table docs/conversion.md]

Weights are random and sizes small; every network runs in inference mode, on this runtime and on
LiteRT, within 1e-4 of the largest magnitude of every output. Each is converted in a process of its
own. Prints one line per network and the counts. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import collections
import copy
import fnmatch
import importlib.metadata
import json
import multiprocessing
import re
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch_zoo_audio
import torch_zoo_plain
import torch_zoo_text
import torch_zoo_vision

import converter
import runtime
from converter.proof import compare

PACKAGES = {
    "torchvision": torch_zoo_vision.torchvision_networks,
    "timm": torch_zoo_vision.timm_networks,
    "transformers": torch_zoo_text.networks,
    "transformers for images and sound": torch_zoo_audio.networks,
    "plain PyTorch": torch_zoo_plain.networks,
}
_MOST_SECONDS = 400
_TOLERANCE = 1e-4
_IMPORTER_GAP = "is used in a way that the importer does not know"


class Outcome(NamedTuple):
    """`status`: "passes", "torch.export fails", "refused", "wrong" or "crashes"."""

    status: str
    reason: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    nodes: int = 0
    transposes: int = 0


def outcome(make: Any) -> Outcome:
    """Convert what `make` gives (module, inputs, keyword inputs) and run it beside the module."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module, args, kwargs = make()
    module = module.eval()
    with torch.no_grad():
        own = copy.deepcopy(module), copy.deepcopy(args), copy.deepcopy(kwargs)  # state moves on
        wanted = torch.utils._pytree.tree_leaves(own[0](*own[1], **own[2]))
    begin, status = time.monotonic(), "crashes"
    try:
        model = converter.from_torch(module, args, example_kwargs=kwargs)
        converter.optimize(model)
        content = converter.write_tflite(model)
    except converter.ConversionError as error:
        reason = str(error)
        if reason.startswith(("torch.export cannot", "PyTorch cannot")):
            status = "torch.export fails"
        elif _IMPORTER_GAP not in reason:
            status = "refused"
        return Outcome(status, reason)
    seconds = time.monotonic() - begin
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    given = torch.utils._pytree.tree_leaves((args, kwargs))
    reason = _difference(model, content, given, wanted)
    ops = [node.op for graph in model.graphs for node in graph.nodes]
    status = "wrong" if reason else "passes"
    return Outcome(status, reason, seconds, megabytes, len(ops), ops.count("TRANSPOSE"))


def _difference(model: Any, content: bytes, given: list[Any], wanted: list[Any]) -> str:
    """What is wrong in one of the engines, in words; empty where nothing is."""
    from ai_edge_litert.interpreter import Interpreter

    (signature,) = model.signatures
    tensors = [x for x in given if torch.is_tensor(x)]
    feeds = {n: _array(x) for n, x in zip(signature.inputs, tensors, strict=True)}
    wanted = [_array(x) for x in wanted if x is not None]
    for name, engine in (("here", runtime.Interpreter), ("LiteRT", Interpreter)):
        try:
            found = engine(model_content=content).get_signature_runner()(**feeds)
        except (RuntimeError, ValueError) as error:
            return f"{name}: {str(error).strip()[:300]}"
        for output, want in zip(signature.outputs, wanted, strict=True):
            difference = compare(output, found[output], want)
            if not difference.agrees(_TOLERANCE):
                return f"{name}: {difference}"
    return ""


def _array(x: Any) -> np.ndarray:
    if not torch.is_tensor(x):
        return np.asarray(x, np.float32 if isinstance(x, float) else None)
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()


def in_own_process(make: Any) -> Outcome:
    """:func:`outcome` in a child, so that one network's crash or memory is not another's."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        warnings.simplefilter("ignore")
        try:
            theirs.send(outcome(make))
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name}:{where.lineno}"
            theirs.send(Outcome("crashes", f"{type(error).__name__}: {error} ({at})"))

    child = context.Process(target=work)
    child.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(_MOST_SECONDS) else None
    except EOFError:
        found = Outcome("crashes", "the process ended")
    child.kill()
    child.join()
    return found or Outcome("crashes", f"is not done after {_MOST_SECONDS} s")


def main() -> int:
    """Command line; exit code 1 where a network is wrong or crashes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="such as 'timm/*vit*'")
    parser.add_argument("--list", action="store_true", help="the names alone")
    parser.add_argument("--results", type=Path, help="a JSON file to add the outcomes to")
    parser.add_argument("--table", type=Path, help="the page to write the table of --results into")
    args = parser.parse_args()
    found = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    for package, networks in PACKAGES.items():
        for name, make in networks().items():
            key = f"{package}/{name}"
            if not any(fnmatch.fnmatch(key, p) for p in args.pattern.split(",")):
                continue
            result = Outcome("") if args.list else in_own_process(make)
            print(_line(key, result), flush=True)
            found[key] = list(result)
            if args.results and not args.list:
                args.results.write_text(json.dumps(found, indent=1, sort_keys=True))
    counts = collections.Counter(row[0] for row in found.values())
    print(", ".join(f"{count} {status}" for status, count in counts.most_common()))
    if args.table:
        _write_table(args.table, found)
    return 1 if counts["wrong"] or counts["crashes"] else 0


def _line(key: str, result: Outcome) -> str:
    size = f"{result.seconds:.1f} s, {result.megabytes:.0f} MB, {result.nodes} nodes,"
    size += f" {result.transposes} transposes"
    return f"{result.status:10} {key}: {result.reason or size}"


def _write_table(page: Path, found: dict[str, list[Any]]) -> None:
    """Replace what stands between the page's marks by the families that pass, and the others."""
    lines = [f"PyTorch {_version('torch')}:", "", "| networks of | pass | of |", "|---|---|---|"]
    others: dict[str, list[str]] = {}
    for package in PACKAGES:
        rows = {k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{package}/")}
        if not rows:
            continue
        passing = sorted(name for name, row in rows.items() if row[0] == "passes")
        version = _version(package.partition(" ")[0])
        lines.append(f"| {package} {version}".rstrip() + f" | {len(passing)} | {len(rows)} |")
        lines.append(f"| {', '.join(passing)} | | |")
        for name, row in sorted(rows.items()):
            if row[0] != "passes":
                others.setdefault(f"{row[0]}: {_short(row[1])}", []).append(name)
    if others:
        lines += ["", "| the others | why |", "|---|---|"]
        lines += [f"| {', '.join(names)} | {reason} |" for reason, names in others.items()]
    text = page.read_text()
    begin, end = "<!-- torch zoo: begin -->\n", "<!-- torch zoo: end -->"
    before, _, rest = text.partition(begin)
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{rest.partition(end)[2]}")


def _short(reason: str) -> str:
    """The reason without the names and expressions of its network."""
    text = reason.splitlines()[1].strip(" -") if "obstacles:\n" in reason else reason
    text = re.sub(r"^.* (cannot be converted|cannot export \w+): ", "", text.replace("\n", " "))
    return re.sub(r" expression .*", "", text)[:160].replace("|", "/")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
