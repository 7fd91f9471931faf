# make demo    train, test and show FastSegFormer on synthetic oranges
# make test    the tests
# make lint    ruff and codespell
# make clean   build output, caches, environments
#
# STACK=openmmlab does the same on the upstream stack, STACK=openmmlab-torch2.1 on it
# with torch 2.1 and NumPy 1.26. Each target sets up what it needs: a virtual
# environment pinned by constraints/$(STACK).txt, with python3 or PYTHON=...

STACK ?= onedl
STACKS := $(patsubst constraints/%.txt,%,$(wildcard constraints/*.txt))
# a file of tests to a core, up to four; each test is happy with one thread
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4 --dist loadfile

ifeq ($(filter $(STACK),$(STACKS)),)
$(error STACK=$(STACK): it is one of $(STACKS); the default is onedl)
endif

VENV := .venv$(if $(filter-out onedl,$(STACK)),-$(STACK))
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test lint install clean

demo: $(READY)
	$(BIN)/python tools/demo/run_demo.py

test: $(READY)
	constraints/browser.sh "$(VENV)"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/codespell

install: $(READY)

$(READY): constraints/$(STACK).txt constraints/install.sh setup.py
	PYTHON="$(PYTHON)" constraints/install.sh "$(STACK)" "$(VENV)"

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache $(STACKS:%=.venv-%) .venv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
