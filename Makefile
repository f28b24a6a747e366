# make demo   sets everything up, judges four cases with Assay and leaves its web page up; make demo-stop ends it
# make demo-compiler  a trained model and ResNet-50: built, verified, run
# make test   sets everything up, checks the code and passes the tests
# make check  formatting, lint, types and import rules
# make docs   writes the generated pages of docs/
# make triton sets up a real Triton server in .triton, which the benchmarks of serving measure
# make conformance  holds our answers and what is recorded of Triton's against a real Triton
# make bench  measures Fusee beside its peers; takes an hour
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo

.PHONY: demo demo-stop demo-compiler test check docs triton conformance bench clean

demo: $(DEMO_STAMP)
	@echo "== demo: Assay, from photographs to four reports"
	@$(BIN)/python -m demo

demo-stop:
	@$(BIN)/python -c 'from demo.assay import stop; stop()'

demo-compiler: $(STAMP)
	@echo "== demo: a trained model and ResNet-50, built, verified, run"
	@$(BIN)/python -m demo.compiler

test: check
	@echo "== tests"
	@$(BIN)/python -m pytest

check: $(STAMP)
	@echo "== format and lint"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/basedpyright --pythonpath $(BIN)/python
	@echo "== import rules"
	@$(BIN)/lint-imports

docs: $(STAMP)
	@echo "== docs: ops, switches, commands, settings; docs/onnx-support.md comes from python -m conformance.suite, in tests/"
	@$(BIN)/python -m docs.pages

triton: $(STAMP)
	@echo "== a real Triton in .triton"
	@$(BIN)/python -m benchmarks.serving.setup_triton .triton

conformance: triton
	@echo "== a real Triton's answers, and Triton's perf_analyzer on our server"
	@$(BIN)/python -m pytest -m triton

bench: $(STAMP)
	@echo "== benchmarks: ten models, one and two threads, in turns with the peers"
	@$(BIN)/python -m benchmarks.compare --models all --threads 1,2 --rounds 5

$(DEMO_STAMP): pyproject.toml
	@echo "== setting up $(VENV) (needs Python 3.11 or newer and PyPI; takes a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,assay]'
	@touch $@

$(STAMP): $(DEMO_STAMP)
	@echo "== setting up what tests and benchmarks need in $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,cli,serve,assay,assay-scale,bench,dev]'
	@touch $@
	@echo "== $(VENV) is ready"

clean:
	rm -rf $(VENV) .triton build dist demo-out
