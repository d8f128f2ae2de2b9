# pixelrnn: `make demo` shows the main job, `make test` checks everything. All of it works without make too:
#   pip install . && pixelrnn demo

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check docs links bench bench-compare soak fuzz clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(READY)

demo: $(READY)  ## train on real digits, measure, sample, complete: writes demo/report.html
	$(BIN)/pixelrnn demo --out demo

check: $(READY)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(READY)  ## lint, types and every test
	@$(BIN)/python tests/machine.py
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest --numprocesses auto --maxprocesses 4

docs: $(READY)  ## build the site in docs/_build/html; a warning or a broken link is an error
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

links: $(READY)  ## ask every other host that the site links to (needs a network)
	$(BIN)/sphinx-build -q -b linkcheck docs docs/_build/links

bench: $(READY)  ## measure sampling, training and growth: docs/performance.md
	$(BIN)/python benchmarks/performance.py --out docs/performance.md

bench-compare: $(READY)  ## what is slower than at the commit in benchmarks/baseline.json: ten minutes
	$(BIN)/python benchmarks/compare.py

soak: $(READY)  ## kill a training twenty times, at random; a set larger than a memory limit: a few minutes
	PIXELRNN_KILLS=20 $(BIN)/pytest tests/survival/test_kills.py -v
	$(BIN)/python benchmarks/streaming.py

fuzz: $(READY)  ## read 100,000 damaged compressed files: some minutes
	PIXELRNN_FUZZ=25000 $(BIN)/pytest tests/contracts/test_codec.py -k damaged_file -v

clean:  ## remove what make made
	rm -rf $(VENV) demo dist build docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
