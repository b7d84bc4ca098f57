# Everything runs in .venv, which is made when it is missing and made anew when pyproject.toml changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := docs/gallery/plot_image_dictionary.py
FITS ?= 10000
BENCH ?= $(sort $(wildcard benchmarks/*.py))

export MPLBACKEND := agg

.PHONY: help demo test test-machines fuzz lint docs bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

demo: $(VENV)/installed-demo  ## learn a dictionary of image patches and draw it
	$(BIN)/python docs/run_example.py $(DEMO) build/demo

test: lint  ## lint, then run the tests and the doctests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-machines: $(VENV)/installed-test  ## run the estimator checks as other processors would, or one: SETTING=skylakex
	$(BIN)/python tests/machines.py $(SETTING)

fuzz: $(VENV)/installed-test  ## fit any model to any data thousands of times: FITS=10000
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(FITS)

lint: $(VENV)/installed-test  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(VENV)/installed-docs  ## build the documentation
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	@echo "Open build/docs/index.html"

bench: $(VENV)/installed-bench  ## run the benchmarks, or one: make bench BENCH=benchmarks/NAME.py
	@set -e; for program in $(BENCH); do echo "== $$program"; $(BIN)/python $$program; done

clean:  ## remove .venv and all that was built
	rm -rf $(VENV) build dist *.egg-info docs/auto_gallery docs/generated docs/sg_execution_times.rst
	rm -rf .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed-%: $(VENV)/created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
