# SPDX-License-Identifier: Apache-2.0
"""The public ONNX models give ONNX Runtime's outputs, on this runtime and on LiteRT."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from conformance.onnx_mutants import public_models

import converter
import runtime

TOLERANCE = 1e-4  # of an output's largest magnitude
# Sizes for inputs that leave them open, and how many TRANSPOSE stay behind the passes.
SHAPES = {"ch_ppocr_mobile_v2.0_cls_infer": {"x": (1, 3, 48, 192)}}
TRANSPOSES = {"ch_ppocr_mobile_v2.0_cls_infer": 1}  # its image comes in channels first


def feeds_of(session, shapes: dict) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for info in session.get_inputs():
        dims = shapes.get(info.name) or [d if isinstance(d, int) else 1 for d in info.shape]
        if "float" in info.type:
            feeds[info.name] = rng.normal(size=dims).astype(np.float32)
        else:
            feeds[info.name] = rng.integers(0, 200, dims).astype(np.int32)
    return feeds


def agrees(wanted: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    assert wanted.keys() == found.keys()
    for name, want in wanted.items():
        assert want.shape == found[name].shape and want.dtype == found[name].dtype
        error = np.abs(want.astype(np.float64) - found[name]).max()
        assert error <= TOLERANCE * np.abs(want).max(), f"{name} is off by {error:.3g}"


@pytest.mark.conformance
@pytest.mark.parametrize("path", public_models(), ids=lambda p: p.stem)
def test_a_public_model_gives_onnx_runtime_s_outputs(path):
    shapes = SHAPES.get(path.stem, {})
    session = onnxruntime.InferenceSession(str(path))
    feeds = feeds_of(session, shapes)
    names = [o.name for o in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, feeds), strict=True))
    model = converter.from_onnx(path, input_shapes=shapes)
    converter.optimize(model)
    transposes = [n for g in model.graphs for n in g.nodes if n.op == "TRANSPOSE"]
    assert len(transposes) <= TRANSPOSES.get(path.stem, 0)
    content = converter.write_tflite(model)
    agrees(wanted, runtime.Interpreter(model_content=content).get_signature_runner()(**feeds))
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    litert = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    agrees(wanted, litert.get_signature_runner()(**feeds))
