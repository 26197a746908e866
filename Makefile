# `make demo` and `make test` need Python 3.11 or newer and nothing else; both install into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test system-test lint bench prove clean

demo: $(VENV)/runtime.stamp
	@$(BIN)/upstox-token demo

test: $(VENV)/dev.stamp lint
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

# The units of deploy/ in a booted systemd; as root, with debootstrap and systemd-container.
system-test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/system $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 broker_tokens *.py

bench: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python benchmarks/run.py --write docs/performance.md
	$(BIN)/python benchmarks/approval_month.py

prove: $(VENV)/dev.stamp
	PYTHONPATH=.:tests $(BIN)/python -m proofs --write docs/reliability.md

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "Installing the runtime packages ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "Installing the packages for development ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/runtime.stamp
