# `make bench` and `make test` need Python 3.11 or newer and make; they set up everything else in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests start some hundred processes: each would compile our modules anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench test test-all test-gpu lint docs lock clean help

bench: $(READY)  ## measure every reference model, print the table, fill results/
	$(BIN)/bench run

test: $(READY)  ## run the tests that are quick and need no server
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow and not alone and not thorough'

test-all: $(READY)  ## run the tests that `make test` leaves out
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'slow and not alone and not thorough and not gpu'
	$(BIN)/python -m pytest -q -m 'alone and not thorough' tests

test-gpu: $(READY)  ## ask a real GPU what its figures are worth; figures go to results/gpu, or $$OUT
	$(BIN)/python -m pytest -q -m gpu tests

lint: $(READY)  ## check style, types, and which package imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/meta/test_layers.py

# Installed again only when what is installed changes. Without a working venv module (Debian splits it off) say what to do.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "stepbench needs Python 3.11 or newer; set one with: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

docs: $(READY)  ## build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

lock: $(READY)  ## pin all dependencies anew, with hashes and without addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --all-extras pyproject.toml -o requirements.lock

clean:  ## remove the environment and caches; results stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | sort
