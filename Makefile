# Everything runs in .venv, which `make setup` makes; `make help` lists the targets.
#   PYTHON=python3.12         the interpreter to make it from (3.11 or newer)
#   TORCH_INDEX=URL           one more package index, for a particular build of torch; none by default

PYTHON ?= python3
TORCH_INDEX ?=

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test check bench torture browser peer clients

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: .venv/.ok  ## make .venv with Lathe, its extras and the tools of `test` and `check`

quickstart: .venv/.ok  ## a language model from text that is already on this machine, from corpus to report
	$(BIN)/lathe quickstart

test: .venv/.ok  ## the tests
	$(BIN)/python -m pytest

check: .venv/.ok  ## lint, format, types, and the floors of the source tree
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py

bench: .venv/.bench  ## measure every claim again: benchmarks/bench_*.py
	@set -e; for claim in benchmarks/bench_*.py; do echo "$$claim"; $(BIN)/python "$$claim"; done

torture: .venv/.ok  ## kill running stages at random and compare what comes out with an unbroken run
	$(BIN)/python -m pytest -m torture

browser: .venv/.ok  ## visit the page of a server with the Chromium of this machine
	@$(INSTALL) -e '.[browser]'
	$(BIN)/python -m pytest -m browser

peer: .venv/.bench  ## tests that compare with other toolkits
	$(BIN)/python -m pytest -m peer

clients: .venv/.ok .venv-clients/.ok  ## tests that ask a server by clients of other servers, as they are
	$(BIN)/python -m pytest -m clients

# A half-made environment (no pip in it) is made again; the stamp is written only after everything is installed.
.venv/.ok: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "installing into .venv: a minute or more, torch is large"
	@$(INSTALL) -e '.[all,dev]'
	@touch $@

.venv-clients/.ok: tests/serve/clients/requirements.txt
	@$(PYTHON) -m venv --clear .venv-clients
	@.venv-clients/bin/python -m pip install -q -r $<
	@touch $@

.venv/.bench: .venv/.ok
	@$(INSTALL) -e '.[all,dev,bench]'
	@touch $@
