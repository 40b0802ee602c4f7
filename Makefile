# Every target makes what it needs; `make demo` and `make test` are all that a new machine needs.
PYTHON ?= python3
OTHER := $(filter-out python3,$(notdir $(PYTHON)))
VENV := .venv$(if $(OTHER),-$(OTHER))
BIN := $(VENV)/bin
DEMO_RECORDS ?= 200000
# Tests start hundreds of processes, and without bytecode on the disk each compiles Beam or torch again.
export PYTHONDONTWRITEBYTECODE :=
# Test processes share the cores: OpenMP's threads that spin while they wait would take them from each other.
PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest
COMPILE := $(BIN)/uv pip compile --quiet --constraint constraints.txt --python-version 3.11 --universal --no-annotate \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make requirements'
WORKER := --extra aws --extra delta --extra iceberg --extra kafka-schemas --extra otel --extra signing

.PHONY: help setup demo test test-servers lint format docs bench engines prism flink kafka soak requirements sbom clean
help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.ready  ## .venv/ with everything, torch included (7 GB, a minute or some)
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## distil a real teacher, publish it, embed events, show what came out
	DEMO_RECORDS=$(DEMO_RECORDS) $(BIN)/millstream demo

test: setup  ## the fast tests; PYTHON=python3.13 for another Python, in an environment of its own
	$(PYTEST) -n 2

test-servers: setup  ## real servers, crashes, a real teacher: little of everything that `make soak` does
	$(PYTEST) -n 3 --dist loadscope -m '(slow or server) and not soak'

lint: setup  ## style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: setup  ## the documentation's site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup  ## the benchmarks, with the peers beside them
	failed=0; for program in tests/benchmarks/*.py; do $(BIN)/python $$program --json build/bench/$$(basename $$program .py).json || failed=1; done; exit $$failed

engines: setup  ## fetch and build the servers of the tests, which is done once on a machine
	$(BIN)/python tests/downloads.py

prism: setup  ## Beam's Prism on this machine, for a person; builds it with Go
	PYTHONPATH=tests $(BIN)/python -m engines.prism

flink: setup  ## Apache Flink on this machine, for a person; needs Java and Maven
	PYTHONPATH=tests $(BIN)/python -m engines.flink

kafka: setup  ## an Apache Kafka broker on this machine until Ctrl-C; TOPICS="a b" makes topics
	$(BIN)/python tests/brokers.py $(TOPICS)

soak: setup  ## hours: the full counts, and all benchmarks; ONLY=kafka,engines,encoder,store,quality for parts
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python tests/soak.py $(if $(ONLY),--only $(ONLY))

requirements: setup  ## requirements/, with hashes; after a change of constraints.txt or pyproject.toml
	$(COMPILE) pyproject.toml $(WORKER) --output-file requirements/worker.txt
	$(COMPILE) pyproject.toml $(WORKER) --extra beam --output-file requirements/beam.txt
	$(COMPILE) requirements/tools.in --output-file requirements/tools.txt

sbom: setup  ## a CycloneDX bill of materials of .venv, in build/sbom.cdx.json
	mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.cdx.json $(BIN)/python

clean:  ## remove what was made here, the environment excepted
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
