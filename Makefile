# Every target makes what it needs; `make demo` and `make test` are all that a new machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_RECORDS ?= 200000
# Test processes share the cores: OpenMP's threads that spin while they wait would take them from each other.
PYTEST_2 := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2

.PHONY: help setup demo test test-slow lint format bench prism flink kafka soak clean
help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## .venv/ with everything, torch included (5 GB and some minutes)
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## distil a real teacher, publish it, embed events, show what came out
	DEMO_RECORDS=$(DEMO_RECORDS) $(BIN)/millstream demo

test: setup  ## the fast tests
	$(PYTEST_2)

test-slow: setup  ## real servers, crashes, millions of texts
	$(PYTEST_2) -m 'slow or server' --durations 20 --ignore tests/engines --ignore tests/pipelines/kafka --ignore tests/deploy
	$(PYTEST_2) --dist loadfile -m 'slow or server' --durations 20 tests/pipelines/kafka tests/deploy  # a file starts its servers once
	$(BIN)/python -m pytest -m 'slow or server' --durations 20 tests/engines  # Flink takes both cores while it begins again

lint: setup  ## style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup  ## the benchmarks, with the peers beside them
	failed=0; for program in tests/benchmarks/*.py; do $(BIN)/python $$program --json build/bench/$$(basename $$program .py).json || failed=1; done; exit $$failed

prism: setup  ## Beam's Prism on this machine, for a person; builds it with Go
	PYTHONPATH=tests $(BIN)/python -m engines.prism

flink: setup  ## Apache Flink on this machine, for a person; needs Java and Maven
	PYTHONPATH=tests $(BIN)/python -m engines.flink

kafka: setup  ## an Apache Kafka broker on this machine until Ctrl-C; TOPICS="a b" makes topics
	$(BIN)/python tests/brokers.py $(TOPICS)

soak: setup  ## the Kafka worker under hundreds of faults; a table in docs/worker-faults.md
	$(BIN)/python tests/soak.py

clean:  ## remove what was made here, the environment excepted
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
