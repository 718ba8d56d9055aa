# SPDX-License-Identifier: Apache-2.0
"""`Interpreter`: the API of tf.lite.Interpreter over the C runtime, and the short form
``model(x)``.
"""

from __future__ import annotations

import enum
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._binding import NO_OFFSET
from ._model import DTYPES, Model
from ._session import Session
from .errors import RilletError
from .signature import SignatureRunner


class OpResolverType(enum.Enum):
    """Accepted for programs written for tf.lite.Interpreter; there is one set of kernels here."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class Interpreter:
    """Runs a .tflite model.

    Life: ``allocate_tensors``, ``set_tensor``, ``invoke``, ``get_tensor``; or call it:
      ``interpreter(x)``. One interpreter serves one thread at a time; a second one gets a
      RilletError. Threads that run one model take an interpreter each from a `Model`.

    Args:
      model_path: file to map into memory; it must not change while the interpreter lives.
      model_content: the model's bytes instead of a path.
      experimental_delegates: ignored, with a warning.
      num_threads: threads of one invoke, 1 by default; the results do not depend on it.
      experimental_preserve_all_tensors: gives every tensor memory of its own, so that intermediate
        values can be read.
      profile: measures every node; see `profile`.
      model: a `Model` to share with other interpreters, instead of a path or bytes.
      isa: the highest instruction set to use ("scalar", "avx2", ...); by default what the
        environment variable RILLET_ISA says, else the best there is.
      custom_ops: operators of your own, custom_code -> fn, or (fn, shapes).
        ``fn(*inputs, options=bytes)`` gets arrays, None for one left out, and returns an array or a
        tuple of them, of exactly the outputs' dtypes and shapes: those the file declares, or the
        list that ``shapes(*input_shapes, options=bytes)`` returns. What it raises reaches the
        caller of `invoke`.
      limits: what the model may take, by name; None stands for no limit. ``max_bytes`` (of memory;
        by default half of the machine's), ``max_tensor_bytes`` (2 GB), ``max_arena_bytes`` and
        ``max_region_bytes`` (4 GB each), ``max_macs`` (multiply-accumulates of one invoke, 2**40),
        ``max_iterations`` (turns of loops in one invoke, 2**20), ``max_depth`` (of calls, 64). A
        model that needs more raises a RilletError of status LIMIT that names the node.
      Other experimental keywords are ignored, with a warning where they ask for something.

    Raises:
      RilletError: a ValueError and a RuntimeError at once; its `status` says which kind.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: Any = None,
        experimental_delegates: Any = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: Any = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
        experimental_default_delegate_latest_features: bool = False,
        experimental_compress_quantization_zero_points: bool = False,
        experimental_disable_delegate_node_fusion: bool = False,
        experimental_force_delegate_node_profiling: bool = False,
        profile: bool = False,
        model: Model | None = None,
        isa: str | None = None,
        custom_ops: Mapping[str, Any] | None = None,
        limits: Mapping[str, int | None] | None = None,
    ) -> None:
        _warn_of_ignored(
            experimental_delegates=experimental_delegates,
            experimental_op_resolver_type=getattr(experimental_op_resolver_type, "value", 0) > 1,
            experimental_disable_delegate_clustering=experimental_disable_delegate_clustering,
            experimental_default_delegate_latest_features=experimental_default_delegate_latest_features,
            experimental_compress_quantization_zero_points=experimental_compress_quantization_zero_points,
            experimental_disable_delegate_node_fusion=experimental_disable_delegate_node_fusion,
            experimental_force_delegate_node_profiling=experimental_force_delegate_node_profiling,
        )
        if num_threads is not None and (
            isinstance(num_threads, bool) or not isinstance(num_threads, int)
        ):
            raise RilletError(
                f"type of num_threads should be int, it is {type(num_threads).__name__}"
            )
        if num_threads is not None and num_threads < 1:
            raise RilletError(f"num_threads should be >= 1, it is {num_threads}")
        if model is None:
            model = Model(model_path, model_content, custom_ops, limits)
        elif custom_ops is not None:
            raise RilletError("give custom_ops to the Model, which is shared")
        elif limits is not None:
            raise RilletError("give limits to the Model, which is shared")
        elif model_path is not None or model_content is not None:
            raise RilletError("give one of model, model_path and model_content")
        self._model = model
        self._threads, self._preserve, self._timed = (
            num_threads or 1,
            experimental_preserve_all_tensors,
            profile,
        )
        self._isa = isa
        self._sessions: dict[int, Session] = {}
        self._signatures = model.signatures()
        self._session = self._session_of(0)
        self._main_runner: SignatureRunner | None = None

    def _session_of(self, subgraph: int) -> Session:
        if subgraph not in self._sessions:
            self._sessions[subgraph] = Session(
                self._model,
                subgraph,
                self._threads,
                self._preserve,
                self._timed,
                state_of=next(iter(self._sessions.values()), None),
                isa=self._isa,
            )
        return self._sessions[subgraph]

    # ---- tf.lite.Interpreter ----

    def allocate_tensors(self) -> None:
        """Infers shapes, plans memory and packs weights. Does nothing if nothing was resized since
        the last time.
        """
        self._session.allocate()

    def num_subgraphs(self) -> int:
        return self._model.subgraphs

    def get_input_details(self) -> list[dict[str, Any]]:
        """A dict per input: name, index, shape, shape_signature (-1 where it may change), dtype,
        quantization (scale, zero point), quantization_parameters, sparsity_parameters.
        """
        return [self._details(i) for i in self._model.inputs(0)]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As `get_input_details`, for the outputs."""
        return [self._details(i) for i in self._model.outputs(0)]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """As `get_input_details`, for every tensor of a subgraph."""
        self._check_subgraph(subgraph_index)
        return [
            self._details(i, subgraph_index)
            for i in range(self._model.tensor_count(subgraph_index))
        ]

    def _check_subgraph(self, index: int) -> None:
        if not 0 <= index < self._model.subgraphs:
            raise RilletError(
                f"subgraph_index is out of range: {index} for the model, which has"
                f" {self._model.subgraphs} subgraphs"
            )

    def _details(self, tensor: int, subgraph: int = 0) -> dict[str, Any]:
        info = self._session_of(subgraph).info(tensor)
        shape = np.array(info.dims[: info.rank], np.int32)
        signature = np.array(info.signature[: info.rank], np.int32)
        scales, zeros = self._model.quantization(subgraph, tensor, info.quantized)
        per_tensor = info.quantized == 1
        return {
            "name": info.name.decode("utf-8", "replace"),
            "index": tensor,
            "shape": shape,
            "shape_signature": signature if (signature < 0).any() else shape.copy(),
            "dtype": DTYPES.get(info.type),
            "quantization": (float(scales[0]), int(zeros[0])) if per_tensor else (0.0, 0),
            "quantization_parameters": {
                "scales": scales,
                "zero_points": zeros,
                "quantized_dimension": info.quantized_axis,
                "block_size": 0,
            },
            "sparsity_parameters": {},
        }

    def set_tensor(self, tensor_index: int, value: Any) -> None:
        """Copies `value` into an input; its shape and dtype must be the tensor's. RilletError says
        both if not.
        """
        self._session.set(tensor_index, value)

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> np.ndarray:
        """Copy of a tensor's values. Intermediate ones hold only with
        experimental_preserve_all_tensors.
        """
        return self._session_of(subgraph_index).get(tensor_index)

    def tensor(self, tensor_index: int) -> Callable[[], np.ndarray]:
        """Function that gives an array over the tensor's own memory.

        Keep the function, not the array: while an array lives, invoke, allocate_tensors and
        resize_tensor_input raise.
        """
        session = self._session
        session.info(tensor_index)
        return lambda: session.view(tensor_index)

    def invoke(self) -> None:
        """Runs the model once. Python's lock is released meanwhile. Ctrl-C ends it."""
        self._session.invoke()

    def resize_tensor_input(
        self, input_index: int, tensor_size: Sequence[int], strict: bool = False
    ) -> None:
        """Asks for a new input shape; allocate_tensors makes it so. `strict`: only dimensions that
        the model leaves open (-1 in shape_signature) may change.
        """
        wanted = [int(size) for size in np.asarray(tensor_size).reshape(-1)]
        info = self._session.info(input_index)
        if strict:
            signature = list(info.signature[: info.rank])
            fits = len(wanted) == len(signature) and all(
                s in (-1, w) for s, w in zip(signature, wanted)
            )
            if not fits:
                raise RilletError(
                    f"strict resize of {info.name.decode('utf-8', 'replace')!r} to {wanted}:"
                    " only unknown dimensions,"
                    f" -1 in its shape signature {signature}, may change"
                )
        self._session.resize(input_index, wanted)

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """Signature key -> names of its inputs and outputs."""
        return {
            key: {"inputs": list(s["inputs"]), "outputs": list(s["outputs"])}
            for key, s in self._signatures.items()
        }

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """Callable that takes a signature's inputs by name and returns its outputs by name.

        None stands for the model's only signature. RilletError if there is no such signature.
        """
        if signature_key is None:
            if len(self._signatures) != 1:
                raise RilletError(
                    f"signature_key is None and the model has {len(self._signatures)} signatures;"
                    " None is allowed when it has exactly 1"
                )
            signature_key = next(iter(self._signatures))
        if signature_key not in self._signatures:
            known = ", ".join(self._signatures) or "none"
            raise RilletError(f"Invalid signature_key {signature_key!r}; the model has: {known}")
        signature = self._signatures[signature_key]
        subgraph = signature["subgraph"]
        return SignatureRunner(
            self._session_of(subgraph), lambda tensor: self._details(tensor, subgraph), signature
        )

    def reset_all_variables(self) -> None:
        """Sets variable tensors, the model's state between invokes, back to zero."""
        self._session.reset_variables()

    # ---- beyond tf.lite.Interpreter ----

    def cancel(self) -> None:
        """Ends the invoke that runs in another thread: it raises a RilletError of status CANCELLED
        before its next node, turn or part of a long node. Nothing happens where none runs. The
        interpreter can be used afterwards.
        """
        for session in list(self._sessions.values()):
            session.cancel()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model on inputs by position (in the order of get_input_details) or by name.

        Names are the signature's, or the tensors' own. Inputs are resized and allocated as needed;
        values are converted to the input's dtype where that keeps their kind. Returns the output's
        array; several outputs as a dict where a signature names them, else as a tuple.
        """
        if self._main_runner is None:
            self._main_runner = self._runner_of_main()
        outputs = self._main_runner.run(self._main_runner.bind(args, kwargs))
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        return outputs if self._main_signature() else tuple(outputs.values())

    def _main_signature(self) -> dict[str, Any] | None:
        return next((s for s in self._signatures.values() if s["subgraph"] == 0), None)

    def _runner_of_main(self) -> SignatureRunner:
        signature = self._main_signature()
        if signature is None:
            details = [self.get_input_details(), self.get_output_details()]
            inputs, outputs = ({d["name"]: d["index"] for d in side} for side in details)
            if len(inputs) < len(details[0]) or len(outputs) < len(details[1]):
                inputs, outputs = (
                    {f"{d['name']}#{i}": d["index"] for i, d in enumerate(side)} for side in details
                )
            signature = {"inputs": inputs, "outputs": outputs}
        return SignatureRunner(self._session, self._details, signature, self._model.inputs(0))

    def memory(self) -> dict[str, int]:
        """Bytes: model (the file), structure, state, prepared (packed weights), arena (activations
        and scratch), and peak_live, which no arena could go below. Exact before allocate_tensors
        too: what is needed is planned, and nothing allocated.
        """
        self._session.plan()
        sizes = self._session.sizes()
        return {name: int(getattr(sizes, name)) for name, *_ in sizes._fields_}

    def extent(self) -> str:
        """How much is known of the main graph's sizes before it runs: "static" (all), "bounded"
        (what `memory` says is the most), or "unbounded" (an invoke may take more memory).
        """
        self._session.plan()
        tensors = range(self._model.tensor_count(0))
        known = ("static", "bounded", "unbounded")
        return known[max((self._session.info(tensor).extent for tensor in tensors), default=0)]

    def tensor_memory(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """Per tensor of a subgraph: index, shape, bytes, and its offset in the arena of its graph,
        None where it has no place there: constants, state, and what no run computes.
        """
        self._check_subgraph(subgraph_index)
        self._session.plan()
        tensors = range(self._model.tensor_count(subgraph_index))
        infos = (self._session.info(tensor, subgraph_index) for tensor in tensors)
        return [
            {
                "index": index,
                "shape": list(info.dims[: info.rank]),
                "bytes": info.bytes,
                "offset": None if info.is_constant or info.offset == NO_OFFSET else info.offset,
            }
            for index, info in enumerate(infos)
        ]

    def nodes(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """Per node: index, op, version, inputs and outputs (tensor indices, -1 for one left out),
        and after memory or allocate_tensors the inner loop chosen, multiply-accumulates, scratch
        bytes per thread and packed bytes. Those of other subgraphs, as the main one runs them.
        """
        self._check_subgraph(subgraph_index)
        nodes = range(self._model.node_count(subgraph_index))
        return [self._node(node, subgraph_index) for node in nodes]

    def _node(self, index: int, subgraph: int) -> dict[str, Any]:
        info = self._session.node(index, subgraph)
        return {
            "index": index,
            "op": info.op.decode("utf-8", "replace"),
            "version": info.version,
            "inputs": info.inputs[: info.n_inputs],
            "outputs": info.outputs[: info.n_outputs],
            "loop": info.loop.decode() if info.loop else None,
            "macs": info.macs,
            "scratch": info.scratch,
            "packed": info.packed,
        }

    def profile(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """`nodes()` with "name" (its first output's) and "microseconds" per invoke, averaged over
        all invokes; a node that runs a subgraph takes that one's, and the timing's own.

        RilletError unless made with profile=True and invoked.
        """
        session = self._session
        if not self._timed or not session.invokes:
            raise RilletError(
                "no profile: make Interpreter(..., profile=True), then invoke it", "BAD_STATE"
            )
        rows = self.nodes(subgraph_index)
        for row, ns in zip(rows, session.node_ns[subgraph_index]):
            out = row["outputs"][0] if row["outputs"] else -1
            name = session.info(out, subgraph_index).name if out >= 0 else b""
            row["name"] = name.decode("utf-8", "replace")
            row["microseconds"] = float(ns) / 1000 / session.invokes
        return rows


def _warn_of_ignored(**asked: Any) -> None:
    for keyword, value in asked.items():
        if value:
            warnings.warn(f"Interpreter ignores {keyword}", stacklevel=3)


def load(model: Any, num_threads: int | None = None, **kwargs: Any) -> Interpreter:
    """An interpreter ready to be called: ``load("m.tflite")(x)``. `model` is a path or the model's
    bytes; keywords are the Interpreter's.
    """
    if isinstance(model, (str, os.PathLike)):
        return Interpreter(model_path=model, num_threads=num_threads, **kwargs)
    return Interpreter(model_content=model, num_threads=num_threads, **kwargs)
