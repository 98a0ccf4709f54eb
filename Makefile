# Everything a person does with this checkout. `make help` lists the targets.
#
# Variables:
#   PYTHON       interpreter that creates the environment       (python3)
#   VENV         where the environment lives                    (.venv)
#   PIP_ARGS     extra arguments of every pip install, e.g. for a CPU-only or another CUDA build of torch:
#                  make setup PIP_ARGS="--extra-index-url <index of CPU-only torch builds>"
#   INSTRUCTION  the sentence of `make simulate`
#   ARGS         settings for `make simulate`, `make train`, `make play`; extra options for `make test`, `make bench`

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
INSTRUCTION ?= Global conflict escalates, leading to a liquidity crisis and gold price surge.
export INSTRUCTION # through the environment, so that the sentence needs no quoting

RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check -q -c .ci/constraints.txt $(PIP_ARGS)
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
AUDIT := $(VENV)/.audit/bin/python

.PHONY: help setup simulate train play test test-slow lint type audit bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		while IFS=$$'\t' read -r name what; do printf '  %-10s %s\n' "$$name" "$$what"; done

setup: $(DEV) ## create the environment with everything that tests need

simulate: $(CORE) ## run the main job: a sentence in, OHLCV bars and a report out
	@$(RUN) simulate.py "$$INSTRUCTION" $(ARGS)

train: $(CORE) ## train the default model on the embedded data
	@$(RUN) train.py $(ARGS)

play: $(DEV) ## a page in the browser: sentences, scenarios to change, paths to compare
	@$(RUN) -m parfait play $(ARGS)

test: $(DEV) ## run the default tests
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 $(ARGS)

test-slow: $(DEV) ## run the slow tests
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 -m "slow and not gpu" $(ARGS)

lint: $(DEV) ## check style and formatting
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

type: $(DEV) ## check types
	@$(RUN) -m basedpyright --level error

audit: $(AUDIT) ## look for known vulnerabilities of the pinned versions; needs the network
	@$(AUDIT) scripts/audit.py .ci/constraints.txt

bench: $(DEV) ## one table of Parfait beside installed peers: speed in ratios, and quality
	@OMP_NUM_THREADS=1 $(RUN) benchmarks/bench.py $(ARGS)

clean: ## remove caches and build products; keeps the environment and outputs/
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(RUN):
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null || echo missing); \
		case "$$version" in 3.11|3.12|3.13) ;; *) echo "Parfait needs Python 3.11 to 3.13, but $(PYTHON) is" \
			"$$version; name another: make PYTHON=python3.11 ..." >&2; exit 2;; esac
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml .ci/constraints.txt | $(RUN)
	@echo "installing parfait into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e .
	@touch $@

$(DEV): pyproject.toml .ci/constraints.txt | $(RUN)
	@echo "installing parfait and its development tools into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(CORE)

$(AUDIT): | $(RUN) # an environment of its own, so that what the tool needs is not part of the answer
	@$(RUN) -m venv $(VENV)/.audit
	@$(AUDIT) -m pip install --disable-pip-version-check -q $(PIP_ARGS) 'pip-audit>=2.9,<3' || { rm -rf $(VENV)/.audit; exit 1; }
