# SPDX-License-Identifier: Apache-2.0
"""ONNX's own backend suite, case by case: converted, run on the runtime, compared.

    python tests/conformance/onnx_backend.py [PATTERN] [--kind node|simple|real] [--engine litert]

Prints one line per case that did not pass, and the counts by reason. A case passes, or is "fixed"
(it passes once small inputs that TFLite's ops want as constants, such as axes or sizes, are given
as constants), or is unsupported with the converter's or the runtime's sentence, or failed: wrong
numbers, a crash.
"""

from __future__ import annotations

import argparse
import collections
import fnmatch
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

import converter
import runtime

KINDS = ("node", "simple", "real")


_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"}
_RANDOM |= {"RandomUniform", "RandomUniformLike"}
_MOST_FIXED = 64  # elements of an input that is given as a constant


class Outcome(NamedTuple):
    case: str
    status: str  # passed, fixed (passed with some inputs as constants), unsupported, failed
    reason: str = ""


def cases(kind: str) -> list[Any]:
    """The suite's cases of one kind; "real" are its light models."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(load_model_tests(kind=kind), key=lambda case: case.name)


def outcome(case: Any, engine: str = "rillet") -> Outcome:
    """Convert one case and run it with all its data sets, on this runtime or on "litert"."""
    try:
        model = model_of(case)
        data_sets = list(_data_sets(case, model))
    except Exception as error:  # the suite's own file, which the installed onnx cannot read
        return Outcome(case.name, "unsupported", f"onnx cannot read the case: {error}")
    found = _outcome(case, model, data_sets, {}, engine)
    constants = _small_inputs(model, data_sets)
    if found.status != "unsupported" or not constants:
        return found
    again = _outcome(case, model, data_sets, constants, engine)
    if again.status == "unsupported" and "a constant" not in found.reason:
        return found
    return again._replace(status="fixed") if again.status == "passed" else again


def _small_inputs(model: onnx.ModelProto, data_sets: list[Any]) -> dict[str, np.ndarray]:
    """Inputs behind the first that an op may want as constants: axes, sizes, scales, filters."""
    initializers = {t.name for t in model.graph.initializer}
    names = [info.name for info in model.graph.input if info.name not in initializers]
    if len(data_sets) != 1:
        return {}
    values = dict(zip(names, data_sets[0][0], strict=False))
    return {
        name: value
        for name, value in list(values.items())[1:]
        if isinstance(value, np.ndarray) and value.size <= _MOST_FIXED
    }


def _litert(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content)


_ENGINES: dict[str, Any] = {
    "rillet": lambda content: runtime.Interpreter(model_content=content),
    "litert": _litert,
}


def _outcome(
    case: Any,
    model: onnx.ModelProto,
    data_sets: list[Any],
    constants: dict[str, np.ndarray],
    engine: str,
) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = converter.from_onnx(model, constants=constants)
            converter.optimize(converted)
            content = converter.write_tflite(converted)
        interpreter = _ENGINES[engine](content)
        for inputs, outputs in data_sets:
            found = _run(interpreter, model, inputs, set(constants))
            wrong = _compare(case, model, found, outputs)
            if wrong:
                return Outcome(case.name, "failed", wrong)
    except converter.ConversionError as error:
        return Outcome(case.name, "unsupported", str(error))
    except runtime.RilletError as error:
        kind = "unsupported" if error.status == "UNSUPPORTED" else "failed"
        return Outcome(case.name, kind, f"runtime: {error}")
    except Exception as error:
        return Outcome(case.name, "failed", f"{type(error).__name__}: {error}")
    return Outcome(case.name, "passed")


def model_of(case: Any) -> onnx.ModelProto:
    if case.model is not None:
        return case.model
    if case.model_dir is not None:
        return onnx.load(str(Path(case.model_dir) / "model.onnx"))
    from onnx.backend.test import loader

    return onnx.load(str(Path(loader.DATA_DIR).parents[3] / case.url))


def _data_sets(case: Any, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [_array(x) for x in inputs], [_array(x) for x in outputs]
        return
    if case.model_dir is None:  # a light model: ramps in, one file out, as the suite runs them
        yield _light_data(case, model)
        return
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        yield (
            [_read(folder / f"input_{i}.pb", info) for i, info in enumerate(model.graph.input)],
            [_read(folder / f"output_{i}.pb", info) for i, info in enumerate(model.graph.output)],
        )


def _light_data(case: Any, model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    from onnx.backend.test import loader

    constants = {t.name for t in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in constants:
            dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(dims))
            inputs.append((np.arange(count, dtype=np.float32) / count).reshape(dims))
    path = Path(loader.DATA_DIR).parents[3] / case.url
    tensor = onnx.TensorProto.FromString(path.with_name(path.stem + "_output_0.pb").read_bytes())
    return inputs, [numpy_helper.to_array(tensor)]


_CARRIERS = {"bfloat16": np.float32, "int4": np.int8, "int2": np.int8} | {
    "uint4": np.uint8, "uint2": np.uint8
}  # fmt: skip


def _array(data: Any) -> Any:
    """Data in memory: an array, or a TensorProto; bfloat16 as the float32 that carries it, integers
    narrower than a byte as bytes.
    """
    array = numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else data
    array = np.asarray(array) if isinstance(array, np.generic) else array
    carrier = _CARRIERS.get(getattr(getattr(array, "dtype", None), "name", ""))
    return array if carrier is None else array.astype(carrier)


def _read(path: Path, info: onnx.ValueInfoProto) -> Any:
    if info.type.WhichOneof("value") != "tensor_type":
        raise ValueError(f"'{info.name}' is a {info.type.WhichOneof('value')}")
    return _array(onnx.TensorProto.FromString(path.read_bytes()))


def _run(interpreter: Any, model: onnx.ModelProto, inputs: list[Any], fixed: set[str]) -> list[Any]:
    constants = {t.name for t in model.graph.initializer}
    names = [info.name for info in model.graph.input if info.name not in constants]
    feeds = {n: x for n, x in zip(names, inputs, strict=False) if n not in fixed}
    found = interpreter.get_signature_runner()(**feeds)
    return [found[info.name] for info in model.graph.output]


def _compare(case: Any, model: onnx.ModelProto, found: list[Any], wanted: list[Any]) -> str:
    """What is wrong, in words; empty where nothing is."""
    for info, result, value in zip(model.graph.output, found, wanted, strict=True):
        want = np.asarray(value)
        if want.dtype == object or want.dtype.kind in "US":
            result, want = result.astype(str), want.astype(str)
            if result.shape != want.shape or (result != want).any():
                return f"output '{info.name}' has other texts"
            continue
        if result.shape != want.shape:
            return f"output '{info.name}' is {list(result.shape)}, not {list(want.shape)}"
        if result.dtype != want.dtype:
            return f"output '{info.name}' is {result.dtype}, not {want.dtype}"
        rtol = case.rtol
        if info.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
            rtol = max(rtol, 2**-6)  # as the suite's own runner: two units in the last place
        elif info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            rtol = max(rtol, 2**-9)  # the same: the suite rounds at each step, we at the end
        if _RANDOM & {node.op_type for node in model.graph.node}:
            continue  # of a generator of its own, shape and type are all that can be compared
        atol = case.atol
        if want.dtype.kind in "fc" and want.size:  # sums of large numbers may end near 0
            atol = max(atol, 1e-6 * float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        if not np.allclose(result, want, rtol, atol, equal_nan=True):
            error = np.abs(result.astype(np.float64) - want.astype(np.float64)).max()
            return f"output '{info.name}' is off by {error:.3g}"
    return ""


def family(reason: str) -> str:
    """The reason without the names and shapes of its case, for counting."""
    text = reason.splitlines()[1].strip(" -") if "obstacles:\n" in reason else reason
    text = re.sub(r"^.* cannot be converted: ", "", text)
    text = re.sub(r" at node '[^']*'( \(.*?\))?(?= [a-z])", "", text)
    text = re.sub(r"'[^']*'", "'...'", text)
    return re.sub(r"\[[^\]]*\]", "[...]", text)


def main() -> int:
    """Command line; exit code 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="such as 'test_reduce_*'")
    parser.add_argument("--kind", choices=KINDS, help="default: all")
    parser.add_argument("--engine", choices=[*_ENGINES], default="rillet")
    parser.add_argument("--name", action="store_true", help="name each case before it runs")
    parser.add_argument("--quiet", action="store_true", help="the counts alone")
    args = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    for kind in [args.kind] if args.kind else KINDS:
        for case in cases(kind):
            if not fnmatch.fnmatch(case.name, args.pattern):
                continue
            if args.name:
                print(f"case {case.name}", flush=True)
            found = outcome(case, args.engine)
            counts[found.status] += 1
            if found.status not in ("passed", "fixed"):
                reasons[family(found.reason)] += 1
                if not args.quiet:
                    print(f"{found.status:12} {found.case}: {found.reason}"[:300], flush=True)
    print("\n".join(f"{n:5} {reason[:200]}" for reason, n in reasons.most_common(80)))
    print(", ".join(f"{n} {status}" for status, n in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
