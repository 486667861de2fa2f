# Everything runs from .venv, which `make setup` builds from uv.lock; only Python >= 3.12, git and
# make need to be there beforehand. ARGS is passed on: make test ARGS="tests/unit -x"; tests run in
# three processes, for they wait a good deal, or in one where PARALLEL is empty.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up nodes test check fmt lock bench contracts long crash soak clean
ARGS ?=
PARALLEL ?= -n 3 --dist=worksteal
BIN := .venv/bin
STAMP := .venv/.installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Build .venv from the lock file; quick when nothing changed

$(STAMP): pyproject.toml uv.lock tools/setup.sh tools/find-python.sh tools/uv-requirements.txt
	@echo "Installing the locked packages into .venv"
	@tools/setup.sh
	@touch $@

demo: setup ## Run the guided tour on a local stack of its own
	@$(BIN)/strongroom demo $(ARGS)

up: setup ## Start the local stack and keep it running until Ctrl-C
	@$(BIN)/strongroom up $(ARGS)

nodes: setup ## Fetch the nodes that tests run against, once, into the cache
	@$(BIN)/python -m devnet.litecoin_node

test: check nodes ## Run the checks, then every test but the long ones
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: setup ## Lint, formatting, types, layers, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py

fmt: setup ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve the dependencies anew into uv.lock (ARGS=--upgrade: newer ones)
	@tools/setup.sh lock $(ARGS)

bench: setup ## Run the benchmarks (ARGS="--part mixing": one of them)
	$(BIN)/python -m benchmarks $(ARGS)

contracts: setup ## Compile the contracts into contracts/artifacts
	$(BIN)/python -m contracts.compile

long: setup nodes ## Run the tests that take minutes each
	$(BIN)/python -m pytest -m long $(ARGS)

crash: setup ## Kill every process at every step and compare the books (ARGS="--mixes 1000")
	$(BIN)/python -m tests.faults.crash $(ARGS)

soak: setup ## Run bulk payouts in ever other orders (ARGS="--minutes 5")
	$(BIN)/python -m tests.faults.soak $(ARGS)

clean: ## Remove what setup and the tools made; the stack's state folder stays
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
