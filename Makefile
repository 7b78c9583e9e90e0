# `make` prints the menu. Every target sets up what it needs by itself: Python 3.11 or newer and make are enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := domain workflows activities exchanges storage credentials observability starter api cli embedded simulator \
	settings.py settings_sections.py settings_vault.py worker.py worker_accounts.py worker_alerts.py worker_sight.py risk_agent alerting \
	bench examples tests docs

.PHONY: help setup demo up check test campaign bench docs lock fix histories clean
help:  ## Print this menu
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## Make the virtual environment from the lock
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)  ## Bring the stack up, show four orders and a crash, stop everything
	@$(BIN)/volex demo

up: $(READY)  ## Bring the stack up and keep it up until Ctrl-C
	@$(BIN)/volex up

check: $(READY)  ## Format, lint, types and import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check  ## Everything that CI runs
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

campaign: $(READY)  ## Run the whole campaign (about 40 minutes) and write its report to docs/campaign
	$(BIN)/python -m tests.campaign all

bench: $(READY)  ## Measure the budgets, product and floor side by side
	$(BIN)/python -m bench.order

docs: $(READY)  ## Write the generated pages anew
	$(BIN)/python -m docs.generate

histories: $(READY)  ## Record the workflow histories that tests/replay replays
	$(BIN)/python -m tests.replay.record

lock: $(READY)  ## Write requirements.lock anew (hashes, no hosts)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

fix: $(READY)  ## Format and mend what can be mended
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
