# SPDX-License-Identifier: Apache-2.0
"""Caches of language models: inputs and outputs of classes of the package transformers."""

from __future__ import annotations

import sys
import types

import numpy as np
from torch_checks import floats, torch

import converter
import runtime


class Cache:
    """As transformers.DynamicCache: torch.export knows it only once it is registered."""

    def __init__(self, keys):
        self.keys = keys


class Step(torch.nn.Module):
    def forward(self, x, cache):
        cache.keys = torch.cat([cache.keys, x], 1)
        return {"seen": cache.keys.sum(1), "cache": cache}


def _register():
    torch.utils._pytree.register_pytree_node(
        Cache,
        lambda cache: ([cache.keys], None),
        lambda values, _: Cache(*values),
        flatten_with_keys_fn=lambda cache: (
            [(torch.utils._pytree.GetAttrKey("keys"), cache.keys)],
            None,
        ),
        serialized_type_name="test_torch_caches.Cache",
    )


def test_caches_go_in_and_out(monkeypatch):
    package, integrations = types.ModuleType("transformers"), types.ModuleType("integrations")
    integrations.executorch = types.SimpleNamespace(register_dynamic_cache_export_support=_register)
    monkeypatch.setitem(sys.modules, "transformers", package)
    monkeypatch.setitem(sys.modules, "transformers.integrations", integrations)
    x, seen = floats(1, 1, 4), floats(1, 3, 4)
    model = converter.from_torch(Step(), (x, Cache(seen)))
    (signature,) = model.signatures
    assert list(signature.outputs) == ["seen", "cache_keys"] and len(signature.inputs) == 2
    run = runtime.Interpreter(model_content=converter.write_tflite(model)).get_signature_runner()
    found = run(**dict(zip(signature.inputs, (x.numpy(), seen.numpy()), strict=True)))
    np.testing.assert_array_equal(found["cache_keys"], np.concatenate([seen, x], 1))
