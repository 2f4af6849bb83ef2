# Everything that RoadVault needs on one machine. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
# Services and tests start hundreds of processes: without compiled files each would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-tests run stop demo pictures test check chaos soak bench bench-quick setup-bench bench-renewal format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing; done by the other targets by themselves
	@setup/install.sh

setup-tests: ## The same, and what only the tests need
	@setup/install.sh tests

run: setup ## Start everything and stay up until Ctrl-C; back-office at http://localhost:7001; STORES=3 for three stores
	@$(if $(STORES),ROADVAULT_LOCAL_STORES=$(STORES)) $(BIN)/roadvault-stack up

stop: setup ## Stop what `make run` or `make demo` left running
	@$(BIN)/roadvault-stack down

demo: setup ## Run the whole main job on real video; FILES=dir takes your own files
	@$(BIN)/python -m roadvault_stack.demo $(if $(FILES),--files "$(FILES)")

pictures: setup-tests ## Take the README's pictures anew, of the running system; needs a Chinese font
	@$(BIN)/python setup/pictures.py

test: setup-tests ## Run all tests, on private real servers; ARGS="-k name" passes arguments to pytest
	@setup/test.sh $(ARGS)

check: setup ## Lint, formatting, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy libs services clients tests tools setup/settings_page.py setup/dashboards.py setup/pictures.py
	$(BIN)/lint-imports

chaos: setup-tests ## Break the running system N=25 times under load, and check the books; SEED=… replays a run; STORES=3
	@PYTHONPATH=tests $(BIN)/python -m $(if $(STORES),chaos.stores --stores $(STORES),chaos) --faults $(or $(N),25) $(if $(SEED),--seed $(SEED)) $(CHAOS)

soak: setup-tests ## Work off 100 000 rows, 100 000 events and 10 000 files: memory and open files must stay flat
	@PYTHONPATH=tests $(BIN)/python -m chaos.soak

bench: setup-bench ## Measure RoadVault beside what one would use instead; ONLY="pack events" picks measures
	@PYTHONPATH=tests $(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

bench-quick: setup-bench ## The same with less of each, in under three minutes
	@PYTHONPATH=tests $(BIN)/python -m bench --quick $(if $(ONLY),--only $(ONLY))

setup-bench:
	@setup/install.sh bench

bench-renewal: setup ## Simulate five years of renewals on the planner's own code
	@$(BIN)/python tests/bench/renewal.py

format: setup ## Format the code and sort the imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

clean: setup ## Stop the stack and remove its data, for ever
	@$(BIN)/roadvault-stack down
	rm -rf .roadvault
