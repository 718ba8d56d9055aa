# Two commands are all a fresh machine needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.rillet-ready
PACKAGES := host_engine converter quantize runtime edge_examples rillet
C_FILES = $(shell git ls-files 'runtime/*.c' 'runtime/*.h' 'benchmarks/*.c' 'tests/*.c' 'tests/*.h' | grep -v 'schema_gen.h\|schema_walk.h')
# RILLET_CC=gcc compiles with a system compiler; otherwise the PyPI package ziglang is the compiler.
BUILD_TOOLS := hatchling editables $(if $(RILLET_CC),,ziglang==0.17.0)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help setup build demo test test-slow test-torch conformance operators fuzz fuzz-corpus tools bench lint format clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv with the extras train, examples and test, and compile the runtime

$(STAMP): pyproject.toml runtime/hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Rillet needs Python 3.10 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 setup"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python has no venv/ensurepip. On Debian and Ubuntu: apt install python3-venv; on Fedora: dnf install python3-pip"; exit 1; }
	@echo "== set-up: virtual environment and packages (once, about two minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet $(BUILD_TOOLS)
	@echo "== set-up: compiling the runtime, installing Rillet and the test peers"
	@$(PIP) install --quiet --no-build-isolation -e '.[train,examples,test]'
	@touch $@

build: $(STAMP) ## compile the runtime again where its C sources changed
	@$(BIN)/python runtime/core/build.py

demo: build ## train -> convert -> int8 -> run, and camera classification
	@$(BIN)/python -m edge_examples.demo --out demo_out

test: build ## the test suite
	@$(BIN)/python -m pytest

test-slow: build ## the slow tests too
	@$(BIN)/python -m pytest -m 'slow or not slow'

# A venv of its own: PyTorch's CPU build is 200 MB to fetch, and nothing else here needs it.
TORCH_VENV := build/venv-torch
TORCH_STAMP := $(TORCH_VENV)/.rillet-ready

$(TORCH_STAMP): pyproject.toml
	@echo "== set-up: PyTorch (once, about two minutes)"
	@mkdir -p build && test -x $(TORCH_VENV)/bin/python || $(PYTHON) -m venv $(TORCH_VENV)
	@$(TORCH_VENV)/bin/python -m pip --disable-pip-version-check install --quiet \
	  torch==2.13.0 'numpy>=2.0' 'flatbuffers>=23.5.26' 'pytest>=7.4' 'ai-edge-litert>=2.1'
	@touch $@

test-torch: build $(TORCH_STAMP) ## convert PyTorch modules and compare with PyTorch, in a venv of its own
	@$(TORCH_VENV)/bin/python -m pytest tests/converter/test_torch_*.py

conformance: build ## everything that is compared with another runtime: operators x types, public models
	@$(BIN)/python -m pytest -m conformance

operators: build ## run every operator and type on LiteRT and here; write docs/operators.md and its lists
	@PYTHONPATH=.:tests:tests/runtime $(BIN)/python -m conformance.tables

bench: build ## matrix products against the measured peak; the runtime beside LiteRT
	@$(BIN)/python -m benchmarks

fuzz: ## damaged models under ASan and UBSan for FUZZ_SECONDS (300)
	@PYTHONPATH=.:tests $(BIN)/python -m fuzz.run --seconds $(or $(FUZZ_SECONDS),300)

fuzz-corpus: build ## write the models that fuzzing starts from, after adding an operator
	@PYTHONPATH=.:tests:tests/runtime $(BIN)/python -m fuzz.make_corpus

agreement: build ## count the values that are LiteRT's, per public model and operator; write docs/agreement.md
	@PYTHONPATH=.:tests:tests/runtime $(BIN)/python -m conformance.agreement

tools: build ## what plays other processors in the tests (qemu-user), into build/tools, without root
	@$(BIN)/python tests/runtime/fetch_emulators.py

lint: build ## ruff, mypy, clang-format, C warnings as errors, import layering
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	@$(BIN)/python runtime/core/build.py --werror --out build/lint/librillet.so
	@$(BIN)/python -m pytest -q tests/test_layering.py

format: $(STAMP) ## let ruff and clang-format lay the sources out
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(C_FILES)

clean: ## remove what builds and runs leave behind (also .venv)
	rm -rf $(VENV) build dist demo_out runtime/_lib .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
