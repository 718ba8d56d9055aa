# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: walks the import statements of every module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"host_engine", "converter", "quantize", "runtime", "edge_examples", "rillet"}
ALLOWED = {
    "host_engine": set(),
    "runtime": set(),
    "converter": {"runtime"},
    "quantize": {"converter", "runtime"},
    "edge_examples": OURS,
    "rillet": OURS,
}
# The modules that may see one package more.
EXCEPTIONS = {
    "converter/importers/graph_files.py": {"host_engine"},
    "converter/importers/host.py": {"host_engine"},
}
THIRD_PARTY_AT_IMPORT = {
    "host_engine": {"numpy"},
    "runtime": {"numpy"},
    "converter": {"numpy", "flatbuffers"},
    "quantize": {"numpy"},
    "rillet": {"numpy"},
}
# Importers of a package's models import it at the top; the core install never reaches them.
OF_A_PACKAGE = {
    "converter/importers/onnx/": {"onnx"},
    "converter/importers/torch/": {"torch"},
}
ENTRANCES = ("__init__.py", "model.py")  # which are reached, and import it when a model is read
DEVICE_SIDE = {"edge_examples/classify_photos.py": {"runtime", "edge_examples"}}


def _imports(tree: ast.AST, top_level_only: bool) -> set[str]:
    found: set[str] = set()

    def visit(node: ast.AST, in_function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if not (top_level_only and in_function) and not _is_type_checking(child):
                if isinstance(child, ast.Import):
                    found.update(alias.name.split(".")[0] for alias in child.names)
                elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                    found.add(child.module.split(".")[0])
            if not (top_level_only and _is_type_checking(child)):
                visit(child, inside)

    visit(tree, False)
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


BUILD_TIME = {"runtime/hatch_build.py"}  # runs inside the build backend, never imported by a user
# Run by its path, from a folder that need not be called "runtime": its tables lie beside it.
BESIDE = {"runtime/core/build.py": {"build_targets"}}
MODULES = [
    path
    for name in sorted(OURS)
    for path in sorted((ROOT / name).rglob("*.py"))
    if path.relative_to(ROOT).as_posix() not in BUILD_TIME
]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    package = relative.split("/")[0]
    tree = ast.parse(path.read_text())
    allowed = ALLOWED[package] | {package} | EXCEPTIONS.get(relative, set())
    allowed = DEVICE_SIDE.get(relative, allowed)
    assert _imports(tree, top_level_only=False) & OURS <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_importing_a_module_needs_only_the_core_install(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    package = relative.split("/")[0]
    if package not in THIRD_PARTY_AT_IMPORT:
        return
    tree = ast.parse(path.read_text())
    third_party = _imports(tree, top_level_only=True) - OURS - set(sys.stdlib_module_names)
    allowed = THIRD_PARTY_AT_IMPORT[package] | BESIDE.get(relative, set())
    if path.name not in ENTRANCES:
        for folder, packages in OF_A_PACKAGE.items():
            allowed = allowed | (packages if relative.startswith(folder) else set())
    assert third_party <= allowed
