# Two commands hold forever: `make demo` and `make test`. Each sets up all it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test tests slow lint clean

demo: .venv/installed
	$(BIN)/echojepa demo --out demo

# Types are checked beside the tests, for that keeps one core alone.
test: .venv/installed
	$(MAKE) --jobs=2 lint tests

tests: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "echojepa needs Python 3.11 or newer; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf .venv demo
