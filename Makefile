# Two commands do everything: `make demo` and `make test`. Both set up first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
STAMP := $(VENV)/.installed
# Most tests wait for servers and devices: two files side by side take little more than half the time.
WORKERS ?= 2
# uv does not read pip's own settings: pass on where pip looks for wheels besides its index.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: help setup demo test check report clean

help:
	@echo "make demo    set up, sweep the reference model on this machine, show what it should run"
	@echo "make test    set up, check the code, run every test"
	@echo "make report  write BENCHMARK.md of this machine's results here"

setup: $(STAMP)

.uv/bin/uv:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("quantfarm needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Give another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'

$(STAMP): requirements/lock.txt pyproject.toml | $(UV)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@echo "Installing from requirements/lock.txt (llama-cpp-python is built from source: about 5 minutes the first time)"
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements/lock.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/quantfarm sweep sweeps/demo.yaml
	@echo
	@echo "Look at it:  $(BIN)/quantfarm dashboard"

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright

test: setup check
	$(BIN)/quantfarm toolchain build
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

report: setup
	$(BIN)/quantfarm report --out .

clean:
	rm -rf $(VENV) .uv
