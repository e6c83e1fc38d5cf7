# Needs Python 3.11+, git and make. uv is bootstrapped into .bootstrap/ when it is not installed; everything else
# comes from uv.lock into .venv/.

UV := $(or $(shell command -v uv 2>/dev/null),.bootstrap/bin/uv)
RUN := $(UV) run --frozen --no-sync
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format ui bench screenshots clean

help: ## Show what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: .venv/.installed ## Install what uv.lock says into .venv/

.venv/.installed: uv.lock pyproject.toml | $(UV)
	$(UV) sync --frozen
	@touch $@

.bootstrap/bin/uv:
	python3 -m venv .bootstrap
	.bootstrap/bin/python -m pip install --quiet 'uv>=0.9'

# A uv that is installed is no file for make to build.
ifneq ($(UV),.bootstrap/bin/uv)
$(UV): ;
endif

demo: setup ## Load the sample recording, replay the rules, build the site
	@$(RUN) hindcast demo

test: setup ## Run every test
	@$(RUN) pytest -q -n $(PYTEST_WORKERS) --dist loadfile

lint: setup ## Check style, types, SQL and which room imports which
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) hindcast prepare
	$(RUN) sqlfluff lint dbt/models

format: setup ## Bring the code into its format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

ui: setup ## Serve the asset graph
	@$(RUN) hindcast ui

bench: setup ## Measure the load of every format beside its baseline (docs/benchmarks.md)
	$(RUN) python tests/benchmarks/loads.py

screenshots: setup ## Make docs/images/ with a headless browser
	$(RUN) python reports/screenshots.py

clean: ## Remove what was built, never what cannot be rebuilt (data/state/hindcast.sqlite)
	rm -rf data/warehouse reports/site dbt/models/violations/generated dbt/macros/generated
	rm -rf data/state/dagster data/state/dbt_target .pytest_cache .mypy_cache .ruff_cache
