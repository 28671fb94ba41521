# `make demo` and `make test` need Python 3.11+, make and the package registries; everything else they bring.
PYTHON ?= python3
BIN := .venv/bin
# The tests start Python some hundred times: modules are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check simulate chaos serve bench gen vectors lock format

help:
	@echo "make demo    set up, start, send the first messages for real, show what arrived (KEEP=1 stays up)"
	@echo "make test    set up and run the whole test suite"
	@echo "make check   format, lint, types, import contracts, tidy rules, generated files"
	@echo "make simulate  random campaigns and failures, a story for each seed (SEEDS=100:200, or SEEDS=7 for one again)"
	@echo "make chaos   a campaign to 200 000 while workers, server, PostgreSQL and relay are killed (ARGS='--kills 40 --seed 1')"
	@echo "make serve   a server and its workers on ./repoint-data"
	@echo "make bench   the benchmarks as ratios (ONLY=name runs one); leaves build/bench.json"
	@echo "make gen     API shapes from the service model, and the generated reference pages"
	@echo "make vectors what handlebars.java makes of thousands of templates, for the tests (needs Java 17 and Maven)"
	@echo "make lock    choose newer dependencies and pin them"

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit("Repoint needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/python tools/demo.py $(if $(KEEP),--keep)

test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

simulate: setup
	REPOINT_SIMULATION_SEEDS=$(or $(SEEDS),1:50) $(BIN)/python -m pytest tests/campaigns/test_simulation.py --timeout=600

chaos: setup
	$(BIN)/python -m tests.simulation.chaos $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_tidy.py
	$(BIN)/python tools/gen.py --check
	$(BIN)/python tools/reference.py --check

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

serve: setup
	$(BIN)/repoint serve --data-dir repoint-data --log-format text

bench: setup
	$(BIN)/python -m bench $(ONLY)

gen: setup
	$(BIN)/python tools/gen.py
	$(BIN)/python tools/reference.py

vectors: setup
	mvn --quiet --batch-mode -f tools/oracle dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/build/oracle
	$(BIN)/python tools/vectors.py

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

lock:
	$(LOCK) --upgrade --group dev --group build -o requirements.lock pyproject.toml
	$(LOCK) --constraint requirements.lock --group build -o deploy/requirements.lock pyproject.toml
