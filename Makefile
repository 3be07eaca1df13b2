# Each command makes the environment it needs: only Python 3.11 (the pins of
# constraints.txt are for it), make and pip are asked for.
PYTHON ?= python3
VENV := .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
PACKAGE := $(VENV)/.package
TOOLS := $(VENV)/.tools
BROWSER := $(VENV)/.browser
DOCS := $(VENV)/.docs

# pip's output cut down to the large downloads and the long step after them
SHELL := bash
.SHELLFLAGS := -o pipefail -c
INSTALL = $(BIN)/python -m pip install --progress-bar off --constraint constraints.txt
LARGE = awk '/(Downloading|Using cached) .* [MG]B\)/ { sub(/-(cp|py)[0-9].*whl/, ""); print; fflush() } \
	/^Collecting torch/ { print "  " $$0; fflush() } \
	/^Installing/ { print "  Installing", NF - 3, "packages"; fflush() }'

GPU_MINUTES ?= 9
FIGURE2 := out/gpu-figure2.db

.PHONY: demo test test-fast test-browser check docs docs-serve format wheel clean
.PHONY: gpu-check gpu-figure2

demo: $(PACKAGE)  ## the first result: a tuned study of three architectures, its table and figures
	@echo "The demo takes about two minutes on two cores."
	@start=$$(date +%s); $(BIN)/recollect run demo --store out/demo.db --out out/demo \
		&& echo "The demo took $$(($$(date +%s) - start)) seconds."

test: $(TOOLS)  ## all tests but those in a browser
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(TOOLS)  ## the quick tests of every folder
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-browser: $(BROWSER)  ## the report page in Chromium; CHROMIUM=PATH names another browser
	$(BIN)/python -m pytest tests/reports/browser

check: $(TOOLS)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS)  ## the site of the documentation in build/site; a broken link or example fails
	$(BIN)/properdocs build --strict --config-file mkdocs.yml

docs-serve: $(DOCS)  ## the site on 127.0.0.1:8000, rebuilt on every edit
	$(BIN)/properdocs serve --config-file mkdocs.yml --dev-addr 127.0.0.1:8000

gpu-check: $(PACKAGE)  ## compare a GPU's results with the CPU's, and measure its speed: at most 8 minutes
	$(BIN)/python -m recollect.bench.gpu --out benchmarks/gpu/check.jsonl

# Run it again to continue from stored trials and checkpoints.
gpu-figure2: $(PACKAGE)  ## a column of Zoology's figure 2 at paper scale, GPU_MINUTES at a time
	mkdir -p out benchmarks/gpu
	-timeout --signal=INT --kill-after=30 $(GPU_MINUTES)m $(BIN)/recollect run zoology-figure2 \
		--scale paper --tasks 64x4 --widths 64,128 --device cuda --store $(FIGURE2)
	$(BIN)/recollect show zoology-figure2 --store $(FIGURE2) --trials \
		--csv benchmarks/gpu/figure2.csv

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(PACKAGE)  ## a wheel in dist/, tried in an environment that has nothing else
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/$(SCRIPTS)/python -m pip install --quiet --constraint constraints.txt torch
	build/wheel/$(SCRIPTS)/python -m pip install --quiet --constraint constraints.txt dist/recollect-*.whl
	cd build/wheel && $(SCRIPTS)/recollect run demo --store demo.db --mixers attention --widths 32 \
		--seeds 1 --set train.steps=50

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PACKAGE): pyproject.toml constraints.txt
	@echo "Installing Recollect into $(VENV): some minutes, most of it the download of PyTorch."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); $(INSTALL) torch | $(LARGE) && $(INSTALL) --editable . | $(LARGE) \
		&& echo "The installation took $$(($$(date +%s) - start)) seconds."
	@touch $@

$(TOOLS): $(PACKAGE)
	@echo "Installing what the tests and checks need: some minutes."
	@$(INSTALL) --editable '.[check]' | $(LARGE)
	@touch $@

$(BROWSER): $(TOOLS)
	test -n "$$CHROMIUM" || command -v chromium || command -v google-chrome \
		|| (apt-get update -qq && apt-get install -y -qq chromium)
	$(INSTALL) --editable '.[browser]' | $(LARGE)
	touch $@

$(DOCS): $(PACKAGE)
	$(INSTALL) --editable '.[docs]' | $(LARGE)
	touch $@
