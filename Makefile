# Each command makes the environment it needs: only Python 3.11 (the pins of
# constraints.txt are for it), make and pip are asked for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package
TOOLS := $(VENV)/.tools

.PHONY: demo test check format clean

demo: $(PACKAGE)  ## the first result: a tuned study of three architectures, its table and figures
	$(BIN)/recollect run demo --store out/demo.db --out out/demo

test: $(TOOLS)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(TOOLS)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PACKAGE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(TOOLS): $(PACKAGE)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[check]'
	touch $@
