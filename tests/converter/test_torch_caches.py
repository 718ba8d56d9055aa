# SPDX-License-Identifier: Apache-2.0
"""Caches of language models: inputs and outputs of classes of the package transformers."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from torch_checks import floats, torch

import converter
import runtime


class Cache:
    """As transformers.DynamicCache: torch.export knows it only once it is registered."""

    def __init__(self, keys):
        self.keys = torch.cat([torch.tensor([]), keys.flatten()]).view(keys.shape)  # makes a tensor


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


def test_failing_exports_do_not_print(capfd):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    for module, x in ((Branching(), floats(3)), (torch.nn.Linear(3, 4), floats(2, 5))):
        with pytest.raises(converter.ConversionError, match=r"torch\.export cannot export"):
            converter.from_torch(module, (x,))
    out, err = capfd.readouterr()
    assert not out and "forward" not in err and "Traceback" not in err
