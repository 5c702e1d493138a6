# make run: train.  make test: check.  Both install what they need into .venv first.

PYTHON ?= python3
ARGS ?=
# Two workers fit two cores; loadfile keeps the tests of one file, which share compiled programs, in one process.
# In their own order the longest files come early, so that no worker is left with one of them at the end.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

BESIDE := --no-print-directory --keep-going --jobs=2

VENV := .venv
BIN := $(VENV)/bin
# What is imported is compiled then; compiling all of it at once costs a quarter of the installation.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile -c constraints.txt
# Some shells forbid to keep it: then every program would compile all that it imports anew, which takes nine seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-slow test-all test-long pytest lint format docs bench constraints clean distclean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## train PEG on Point Maze; more options: make run ARGS="--seed=1 --help"
	$(BIN)/python -m experiments.peg --env=point_maze $(ARGS)

# Lint and tests side by side: what checks the types uses one core.
test: $(VENV)/.installed-dev  ## lint and the tests but for the long ones; narrow down: make test PYTEST_ARGS="tests/core -x"
	@$(MAKE) $(BESIDE) lint pytest TIER='-m "not slow and not long"'

test-slow: $(VENV)/.installed-dev  ## the long tests: every documented command, notebooks, killed runs, peers' learners
	@$(MAKE) --no-print-directory pytest TIER='-m "slow and not long"'

test-all: $(VENV)/.installed-dev  ## lint and both kinds of tests, in less time than one after the other
	@$(MAKE) $(BESIDE) lint pytest TIER='-m "not long"'

test-long: $(VENV)/.installed-dev  ## what takes half an hour more: commands that pages mention, all gymnasium checks
	@$(MAKE) --no-print-directory pytest TIER='-m long'

pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(TIER) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

format: $(VENV)/.installed-dev  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev  ## the documentation, into .cache/site
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed  ## compile time, steps per second, memory
	$(BIN)/python -m experiments.bench $(ARGS)

# Existing pins stay unless ARGS says otherwise, for example ARGS=--upgrade or ARGS="--upgrade-package jax".
constraints: $(VENV)/.installed-dev  ## bring constraints.txt up to date with pyproject.toml, for all Pythons at once
	$(PIP_INSTALL) uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --no-annotate --quiet \
		--custom-compile-command "make constraints" --output-file constraints.txt $(ARGS)

clean:  ## remove caches and build products; runs/ stays
	rm -rf .cache build dist *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the virtual environment
	rm -rf $(VENV)

# One stamp for running and one for developing; installing the larger set refreshes both.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(call make_venv)
	@echo "Installing peg_jax into $(VENV) (a minute or two the first time) ..."
	@$(PIP_INSTALL) -e ".[mujoco]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call make_venv)
	@echo "Installing peg_jax and its development tools into $(VENV) (a minute or two the first time) ..."
	@$(PIP_INSTALL) -e ".[dev]"
	@touch $(VENV)/.installed $@

# A missing or half-made environment is made anew.
define make_venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
			echo "error: peg_jax needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -1)." \
				"Name another one: make PYTHON=python3.12" >&2; exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(VENV) holds a Python older than 3.11. Remove it: make distclean" >&2; exit 1; }
endef
