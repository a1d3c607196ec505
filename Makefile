# make run    the main job: a real model, German text, a report      (configs/german.yaml)
# make test   the tests, all but those of `make test-long`: whole sweeps of kills, a Ray cluster, and
#             paths that another test walks in part
# make lock   requirements.lock anew: every library's file but torch's by its sha256
# make check  format, lint, types, import rules, and the wheel by itself
#
# PYTHON       interpreter for .venv (3.11 to 3.13)
# TORCH_INDEX  package index that holds a CPU build of torch, where the default one does not
# CONFIG       run file of `make run`
# PIP_* variables reach pip as usual.

PYTHON ?= python3
CONFIG ?= configs/german.yaml
VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt

.PHONY: run test test-long check benchmark lock install dev clean

run: install
	$(BIN)/tokgraft run $(CONFIG)

test: dev
	$(BIN)/pytest --numprocesses 3 --dist worksteal -m "not benchmark and not long" --durations 15 tests

test-long: dev
	$(BIN)/pytest -m long --durations 15 tests

benchmark: dev
	$(BIN)/pytest -m benchmark -s tests/benchmarks

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . > /dev/null
	$(BIN)/pip install -qq --no-deps --target build/wheel dist/*.whl
	cd / && PYTHONPATH="$(CURDIR)/build/wheel" "$(CURDIR)/$(BIN)/python" -P -c \
	  "import flows.cli as c; assert 'build/wheel' in c.__file__, c.__file__; c.app(['--help'])" > /dev/null

lock: install
	$(BIN)/pip install -qq --dry-run --ignore-installed --report .stamps/report.json -c constraints.txt .
	$(BIN)/python docker/lock_requirements.py < .stamps/report.json > requirements.lock

install: .stamps/install
dev: .stamps/dev

.stamps/install: $(PINS)
	@mkdir -p .stamps
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip -c constraints.txt
	$(if $(TORCH_INDEX),$(BIN)/pip install -qq --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/pip install -qq -c constraints.txt -e .
	@touch $@

.stamps/dev: .stamps/install
	$(BIN)/pip install -qq -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf .stamps build dist *.egg-info
