# Everything from a bare clone: each target makes what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo load test soak bench lint ci clean

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (about half a minute, once)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## the whole story on loopback; writes mdmsim-report/
	@$(BIN)/mdmsim demo

load: $(STAMP)  ## a load test in half a minute: a push storm against reference server and fake APNs on loopback
	@$(BIN)/mdmsim load push_storm --devices 60 --time 12s

test: $(STAMP)  ## the test suite
	@$(BIN)/python -m pytest -n 2 --dist worksteal tests
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal scenarios

soak: $(STAMP)  ## what takes too long for every day: hundreds of kills, long fuzzing
	@$(BIN)/python -m pytest -m soak --timeout 3600 tests

bench: $(STAMP)  ## CPU cost of everything that must be cheap, as a ratio to a floor of the same run
	@$(BIN)/python -m benchmarks

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV) mdmsim-report .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
