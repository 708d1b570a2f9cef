# The whole workflow. `make report` and `make test` work in a fresh checkout: they make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Arguments for pytest beside the defaults: make test PYTEST_ARGS="-k stability -x"
PYTEST_ARGS ?=
# Two processes with one thread each: sympy's derivations are single-threaded, and torch's tensors here are small.
# Each begins with half of the tests, so that a file is prepared for once, and takes work from the other at the end.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup report renew test fresh lint format generate benchmark constraints clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup: $(STAMP)  ## make .venv with the pinned versions; nothing to do where it is up to date

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet -c constraints.txt -e ".[test]"
	@touch $@

report: setup  ## derive, verify and draw everything: build/report/index.html; changes no tracked file
	$(BIN)/integrator-analysis report --output build/report

renew: setup  ## the same, and bring reports/ and docs/catalogue.md up to date with it
	$(BIN)/integrator-analysis report --output build/report --renew

test: setup  ## run the whole suite: unit tests, properties, doctests, notebooks
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q $(PYTEST_ARGS)

fresh: setup  ## exported files in fresh environments with torch alone, and with torch and diffusers alone
	@sh tests/fresh_environments.sh $(BIN)/python

lint: setup  ## style, types and the arrows between the rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup  ## apply the style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: setup  ## write torch_backend/generated anew from the catalogue
	$(BIN)/integrator-analysis generate

benchmark: setup  ## run every program in benchmarks/, in reading order
	@set -e; for program in benchmarks/speed/*.py benchmarks/studies/*.py; do \
		[ -e "$$program" ] || { echo "benchmarks/ holds no programs"; exit 1; }; \
		echo "== $$program"; $(BIN)/python "$$program"; \
	done

constraints: setup  ## renew constraints.txt from what .venv holds (torch without its build label)
	@{ grep '^#' constraints.txt; \
		$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude wheel \
		| sed 's/^\(torch==[0-9.]*\)+.*/\1/' | sort -f; } > constraints.txt.new && mv constraints.txt.new constraints.txt
	@touch $(STAMP)

clean:  ## remove .venv, caches, build/report and other build artefacts
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
