# One command from a fresh clone; nothing is needed but Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test test-all lint bench scaling tensorboard clean

help:            ## what there is
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(INSTALLED)  ## a virtual environment in .venv with gli and its tools

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gli needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install    ## train on the built-in faces, forget some people, show what it cost
	$(BIN)/gli fit --config configs/gli_synthetic.yaml

test: install    ## the tests, one process for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-all: install  ## the tests and the slow ones, with new inputs each time: 10,000 for every kind of file
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "" --hypothesis-profile=default

lint: install    ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install   ## speed, as ratios: half an hour on two cores (GROUPS="images audits" for some of it)
	$(BIN)/python -m benchmarks $(GROUPS)

scaling: install ## seconds and bytes as a run grows, into docs/scaling.md
	$(BIN)/python -m benchmarks.scaling

tensorboard: install  ## curves of all runs
	$(BIN)/tensorboard --logdir lightning_logs

clean:           ## remove the environment and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
