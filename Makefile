# Every target sets itself up from a fresh clone: it needs make and a Python 3.10 to 3.13.
# PYTHON=/path/to/python chooses another one than the first that is found.

ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$name -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$name && break; done)
endif
VENV := .venv
BIN := $(VENV)/bin
# Without the build tools' warnings about editable installations.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --quiet --disable-pip-version-check
READY := $(VENV)/ready
INSTALLED := $(VENV)/installed
INSTALLED_DEV := $(VENV)/installed-dev
# Where TFDS keeps its data, for tests and benchmarks on MNIST; empty is TFDS's own default.
DATA_DIR ?=

# With it, each of the many programs that tests start compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint format bench clean

demo: $(INSTALLED)
	$(BIN)/python -m launchers.demo --out=demo

test: $(INSTALLED_DEV)
# Two files at a time, each on half of the cores, in the order of tests/conftest.py.
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m launchers.benchmark --suite $(if $(DATA_DIR),--data_dir=$(DATA_DIR))

clean:
	rm -rf $(VENV) demo build *.egg-info

$(READY): setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found: install one, or give PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
# The pip that comes with Python 3.10 searches for minutes where a current one needs seconds.
	$(PIP) install --upgrade pip
	@touch $@

$(INSTALLED): $(READY)
	$(PIP) install -e .
	@touch $@

$(INSTALLED_DEV): $(READY)
	$(PIP) install -e ".[dev]"
	@touch $(INSTALLED) $@
