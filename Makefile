# make demo   sets everything up and shows the main job
# make test   sets everything up and passes the tests
# make check  formatting, lint, types and import rules
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench clean

demo: $(STAMP)
	@$(BIN)/python -m demo

test: check
	@echo "== tests"
	@$(BIN)/python -m pytest -q

check: $(STAMP)
	@echo "== format and lint"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/basedpyright --pythonpath $(BIN)/python
	@echo "== import rules"
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python -m benchmarks.compare --models all --threads 1,2 --rounds 5

$(STAMP): pyproject.toml
	@echo "== setting up $(VENV) (needs Python 3.11 or newer; takes a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,cli,bench,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist
