# Everything runs in .venv, which is made when it is missing and made anew when pyproject.toml changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := docs/gallery/plot_image_dictionary.py
CHECKS ?= tests/test_estimators.py tests/test_state.py tests/test_persistence.py tests/test_fuzz.py
FITS ?= 10000
COMMITS ?= HEAD^!
BENCH ?= $(sort $(wildcard benchmarks/*.py))

export MPLBACKEND := agg

.PHONY: help demo test test-machines test-lowest test-wheel fuzz coverage lint docs bench asv asv-quick clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

demo: $(VENV)/installed-demo  ## learn a dictionary of image patches and draw it
	$(BIN)/python docs/run_example.py $(DEMO) build/demo

test: lint  ## lint, then run the tests and the doctests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-machines: $(VENV)/installed-test  ## run the estimator checks as other processors would, or one: SETTING=skylakex
	$(BIN)/python tests/machines.py $(SETTING)

test-lowest: $(VENV)/created  ## run the estimator checks with the lowest versions of what we need
	@mkdir -p build
	$(PYTHON) -m venv --clear build/lowest
	$(PYTHON) tests/lowest.py > build/lowest.txt
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint build/lowest.txt --editable ".[test]"
	build/lowest/bin/python -m pytest $(CHECKS)

test-wheel: $(VENV)/created  ## build the wheel, install it elsewhere, run the estimator checks there
	rm -rf build/wheel build/lib build/bdist.*
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv --clear build/wheel/venv
	cp -r tests setup.cfg build/wheel/
	cd build/wheel && venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    "$$(echo skprosper-*.whl)[test]"
	cd build/wheel && venv/bin/python -m pytest $(CHECKS)

fuzz: $(VENV)/installed-test  ## fit any model to any data thousands of times: FITS=10000
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(FITS)

coverage: $(VENV)/installed-test  ## tell which lines the tests run, of kernels by small fits that are not compiled; at least 95 %
	$(BIN)/python -m pytest -n auto --dist loadfile --cov=skprosper --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run --append --source=skprosper tests/fuzz.py 300 0
	$(BIN)/python -m coverage report --skip-covered --show-missing --fail-under=95

lint: $(VENV)/installed-test  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(VENV)/installed-docs  ## build the documentation
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	@echo "Open build/docs/index.html"

bench: $(VENV)/installed-bench  ## run the benchmarks, or one: make bench BENCH=benchmarks/NAME.py
	@set -e; for program in $(BENCH); do echo "== $$program"; $(BIN)/python $$program; done

asv: $(VENV)/installed-bench  ## time the models at some commits: COMMITS=HEAD~5..HEAD
	cd benchmarks/asv && ../../$(BIN)/python -m asv run $(COMMITS)

asv-quick: $(VENV)/installed-bench  ## time the models as they stand, once
	cd benchmarks/asv && ../../$(BIN)/python -m asv machine --yes > /dev/null
	cd benchmarks/asv && ../../$(BIN)/python -m asv run --python=same --quick --show-stderr --dry-run

clean:  ## remove .venv and all that was built
	rm -rf $(VENV) build dist *.egg-info docs/auto_gallery docs/generated docs/sg_execution_times.rst
	rm -rf .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed-%: $(VENV)/created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
