# One command from a fresh clone. Only Python 3.11 or newer and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Modules are compiled when they are first imported; most never are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: help install demo test test-all lint bench scaling docs tensorboard clean

help:            ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## create a virtual environment in .venv, with gli and its development tools

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gli needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo 'Installing into $(VENV): 6 GB with the default PyTorch for Linux, 3 to 10 minutes.'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	$(BIN)/python -c 'import gli.engine.fit'
	touch $@

demo: install    ## train on drawn faces, forget some people, and show what it cost
	$(BIN)/gli fit --config configs/gli_synthetic.yaml

test: install    ## run the tests, one process per core, a file in one process
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=30

test-all: install  ## run all tests, slow ones included, with new random inputs (10,000 for each kind of file)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "" --hypothesis-profile=default

lint: install    ## run ruff, import-linter and mypy
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install   ## measure speed as ratios: half an hour on two cores (GROUPS="images audits" for some groups)
	$(BIN)/python -m benchmarks $(GROUPS)

scaling: install ## measure how time and memory grow, and write docs/scaling.md
	$(BIN)/python -m benchmarks.scaling

docs: install    ## generate docs/methods, a picture and the shell completion, run the notebooks, and build the documentation as a site in site/
	$(PIP) -e '.[docs]'
	$(BIN)/python docs/methods.py
	$(BIN)/python docs/threats.py
	$(BIN)/python docs/completion.py
	$(BIN)/python docs/notebook_output.py
	PYTHONPATH=docs $(BIN)/python -c 'from figures import faces; faces()'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

tensorboard: install  ## show the curves of all runs
	$(BIN)/tensorboard --logdir lightning_logs

clean:           ## remove the virtual environment and caches; runs and data are kept
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
