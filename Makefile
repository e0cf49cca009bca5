# Everything a newcomer or CI does. The folder may have a space in its name, so paths stay relative.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# How many tests run beside each other, and in which order (tests/support/tiers.py).
PARALLEL := -n auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

.PHONY: install quickstart test-fast test test-all check reference clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Spolia needs Python 3.11, 3.12 or 3.13 as python3; none was found. Name one: make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV): a few minutes, about 6 GB (torch brings its CUDA libraries)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

quickstart: install
	@$(BIN)/spolia run sweeps/quickstart.py

# The twenty slowest tests are printed; pytest's closing line, with the time of all, comes last.
# ARGS goes to pytest: make test-fast ARGS="-k levelling"
test-fast test test-all: install
	@$(BIN)/python -m pytest --tier $(TIER) $(PARALLEL) --durations=20 $(ARGS)

test-fast: TIER := fast
test: TIER := full
test-all: TIER := all

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# After a docstring has changed; a test holds that the pages are what this writes.
reference: install
	@$(BIN)/python docs/generate_reference.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
