# `make demo` and `make test` need only Python 3.11+ and pip; they install into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint types check chaos conformance bench clean

help: ## this text
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo ## an embedded SQS, a Celery worker, and a client that calls its tools
	@$(BIN)/asyncmcp-kombu demo

test: $(VENV)/.dev ## every behaviour; tests whose service is not running are skipped, and fail when CI is set
	$(BIN)/python -m pytest -n 3 --dist loadscope

test-all: $(VENV)/.dev ## the same on every broker and pool: half an hour on two cores
	$(BIN)/python -m pytest -n 3 --dist loadscope --exhaustive

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## pyright, strict
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test ## lint, types and tests

chaos: $(VENV)/.dev ## calls while workers are killed and the broker is cut off: CALLS=1000 BROKER=sqs (redis, rabbitmq) RATE=15
	$(BIN)/python -m tests.chaos --calls $(or $(CALLS),1000) --broker $(or $(BROKER),sqs) --rate $(or $(RATE),15)

conformance: $(VENV)/.dev ## the official MCP conformance suite and the MCP Inspector, over a queue; needs npm
	$(BIN)/python -m tests.conformance single fleet
	$(BIN)/python -m tests.conformance.inspector

bench: $(VENV)/.bench ## measure ours, raw boto3 and the peers side by side into docs/benchmarks/; ONLY="sqs10ms tasks" for parts
	$(BIN)/python -m benchmarks $(if $(ONLY),--keep --only $(ONLY))

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
