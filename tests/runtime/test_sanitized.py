# SPDX-License-Identifier: Apache-2.0
"""Every kernel's tests again on a library built with gcc's address and undefined sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from zoo import ROOT

from runtime.core.build import build

# All that run kernels on small tensors; what builds, forks or measures stays out.
SUITES = [
    "elementwise",
    "quantized_ops",
    "reduce",
    "shape_ops",
    "slices",
    "matrix_ops",
    "matrix_types",
    "short_ints",
    "sparse",
    "half",
    "plan",
    "control_flow",
    "loops",
    "composite_kernels",
    "composite_layers",
    "custom_ops",
    "dynamic",
    "state",
    "recurrent_lstm",
    "recurrent_rnn",
    "offline_plan",
    "index_ops",
    "plain_ops",
    "scatter_ops",
    "misc_ops",
    "detection",
    "dynamic_ops",
    "stablehlo_ops",
    "stablehlo_bodies",
    "dense_forms",
    "dynamic_range",
    "computed_weights",
    "widened",
    "written_variables",
    "limits",
    "sharing",
    "interpreter",
    "strings",
    "string_files",
    "hashtable",
    "spatial",
    "spatial_custom",
    "spatial_matmul",
    "spatial_norms",
    "spatial_products",
    "spatial_windows",
]
gcc = shutil.which("gcc")


def sanitizer(name: str) -> str:
    """Path of gcc's runtime library of one sanitizer."""
    command = [str(gcc), f"-print-file-name=lib{name}.so"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(gcc is None, reason="needs gcc and its sanitizers")
def test_kernels_are_clean_under_the_sanitizers() -> None:
    library = build(None, ROOT / "build" / "asan" / "librillet.so", sanitize=True)
    env = {
        **os.environ,
        "RILLET_LIBRARY": str(library),
        "LD_PRELOAD": f"{sanitizer('asan')} {sanitizer('ubsan')}",
        # Python itself leaks; a test asks for more memory than there is.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    }
    files = [str(ROOT / "tests" / "runtime" / f"test_{suite}.py") for suite in SUITES]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
