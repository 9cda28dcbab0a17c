# Six verbs and a demo. Nothing is needed beforehand but python3 (3.11 or newer), git and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Two pytest workers: starting the real CLI costs a core each.
WORKERS ?= 2

.PHONY: help setup fmt check test fast docs bench demo record lock clean

help: ## Show the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Make .venv with everything this project needs
$(READY): requirements.lock pyproject.toml
	@command -v git >/dev/null || { echo "pitboss: git is needed; install it and run make again"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pitboss: Python 3.11 or newer is needed (PYTHON=python3.12 make ...)"; exit 1; }
	@echo "Setting up $(VENV) (once; the agent's own binary is large, so this takes a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

fmt: $(READY) ## Format and mend what can be mended
	@$(BIN)/ruff check --fix --quiet src tests bench docs || true
	@$(BIN)/ruff format --quiet src tests bench docs

check: $(READY) ## Formatting, lint, strict types, import contracts, docs
	$(BIN)/ruff format --check src tests bench docs
	$(BIN)/ruff check src tests bench docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/reference.py --check

# What hypothesis tries is the same each time here, and new each time in `make fast` and `make bench` (row laws).
test: $(READY) ## Every test, the real CLI included
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --hypothesis-profile=ci -q

fast: $(READY) ## The inner loop: seconds
	$(BIN)/python -m pytest -q -m "not slow and not claude"

docs: $(READY) ## Build the documentation into site/
	$(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

bench: $(READY) ## Measure; prints a table with the goal beside each row
	$(BIN)/python -m bench

demo: $(READY) ## Two whole runs, flat and with a lead, of real Claude Code sessions and a scripted model; no account, no spend
	@$(BIN)/pitboss demo
	@echo
	@$(BIN)/pitboss demo --lead

record: $(READY) ## Record conversations with the installed CLI anew, for the wire's golden tests
	$(BIN)/python tests/wire/record.py

lock: $(READY) ## Pin the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --group dev --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) site build dist
