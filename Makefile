# Every target sets up its own virtual environment first; a second run reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests are repeatable; `make test HYPOTHESIS_PROFILE=dev` draws new examples.
HYPOTHESIS_PROFILE ?= ci
export HYPOTHESIS_PROFILE

# Other people's programs, each in an environment of its own: their pins exclude each other.
READERS := .readers
PROGRAMS := $(basename $(notdir $(wildcard tests/readers/*.txt)))

.PHONY: demo test test-readers lint docs clean

demo: $(STAMP)
	$(BIN)/echolith demo

# Tests and pages run on every core; linear algebra on several threads in each takes three times as long.
test docs: export OPENBLAS_NUM_THREADS = 1

# Neighbours stay on one worker where they can: they share simulations.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-readers: $(STAMP) $(PROGRAMS:%=$(READERS)/%/.installed)
	ECHOLITH_READERS=$(READERS) $(BIN)/python -m pytest -n 0 tests/readers

$(READERS)/%/.installed: tests/readers/%.txt
	$(PYTHON) -m venv $(READERS)/$*
	$(READERS)/$*/bin/python -m pip install --quiet --requirement $<
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/run_blocks.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,dev,learn]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(READERS) build dist *.egg-info
