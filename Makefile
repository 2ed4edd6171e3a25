# Each target does all the set-up it needs: a .venv of the versions pinned in requirements.lock.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs clean

help:
	@echo "make demo   train on real satellite and map tiles, translate, and write a report"
	@echo "make test   run the whole test suite"
	@echo "make lint   check format, lint rules and types"
	@echo "make docs   build the documentation into build/docs"
	@echo "make clean  remove the environment"

demo: .venv/installed
	$(BIN)/revgan demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

clean:
	rm -rf .venv

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "revgan needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
