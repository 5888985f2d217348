# Everything goes into .venv/. `make demo` and `make test` set up what they need, and need only git and make beforehand.

BIN := .venv/bin
PYTHON := $(BIN)/python
# Rooms whose branch coverage must be, and is, 100 %.
COVERED := formats crypto trust tlog policy grants custody
WORKERS ?= 2
PYTEST := $(PYTHON) -m pytest -q
# Byte code is kept, also where an image says otherwise: every process that tests start would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

core_rooms = $(wildcard $(foreach room,$(COVERED),tests/$(room)) tests/ceremony)

.PHONY: help demo test hooks check lint core docs bench bench-long fuzz format bootstrap bootstrap-tests clean

help:
	@echo "make demo         show the main job on real input, into demo-out/ (3 minutes)"
	@echo "make test         set up, then lint and the whole suite"
	@echo "make hooks        test the hooks for PyTorch, Trainer and Lightning, and MLflow, in a .venv-hooks of 2 GB"
	@echo "make check        lint, types, import contracts, and the core rooms' tests with their coverage"
	@echo "make bench        measure against the goals, into bench-out/ and docs/benchmarks.md (bench-long: the large sizes too)"
	@echo "make fuzz         feed every parser for FUZZ_SECONDS=60 each"
	@echo "make docs         write docs/errors.md, docs/cli.md and docs/openapi/ from the source"
	@echo "make format       let ruff format and fix what it can"

bootstrap:
	@./bootstrap

bootstrap-tests:
	@./bootstrap --tests

demo: bootstrap
	@$(PYTHON) -m demo

# Hundreds of tests hold real processes to seconds. What fails gets one more run by itself, and is named there.
again = || { [ $$? -eq 1 ] && echo "FAILED BESIDE OTHERS: once more, by itself" && \
	$(PYTEST) -v -n 0 --last-failed --last-failed-no-failures none $(1); }
TOGETHER := -m "not alone and not long and not hooks" tests $(core_rooms:%=--ignore=%)
ALONE := -m "alone and not long and not hooks" tests

test: bootstrap-tests lint core
	$(PYTEST) -n $(WORKERS) --dist loadgroup --durations=30 --durations-min=5 $(TOGETHER) $(call again,$(TOGETHER))
	$(PYTEST) $(ALONE) $(call again,$(ALONE))

check: bootstrap lint core

lint:
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

core:
	$(PYTEST) -n $(WORKERS) -m "not alone and not long and not hooks" $(core_rooms) $(foreach room,$(COVERED),--cov=keyturn.$(room)) --cov-report=term-missing --cov-fail-under=100

HOOKS := .venv-hooks
hooks: bootstrap-tests $(HOOKS)/made
	$(PYTEST) -n 0 -m hooks tests/hooks

$(HOOKS)/made: tests/hooks/requirements.txt
	@$(PYTHON) -m venv $(HOOKS)
	@$(HOOKS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/hooks/requirements.txt -e .
	@touch $@

bench: bootstrap-tests
	@$(PYTHON) -m bench

bench-long: bootstrap-tests
	@$(PYTHON) -m bench --long

FUZZ_SECONDS ?= 60
fuzz: bootstrap
	KEYTURN_FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTEST) -n $(WORKERS) tests/fuzz -m long --timeout=0

docs: bootstrap
	@$(PYTHON) -m tools.error_codes
	@$(PYTHON) -m tools.cli_reference
	@$(PYTHON) -m tools.openapi

format: bootstrap
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .venv-hooks demo-out bench-out .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
