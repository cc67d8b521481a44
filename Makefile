# Every target sets up what it needs; the second call is quick. Needs Python 3.11 or newer, make and a package index.
#   make demo         the library at work on the shipped model: terminal report, demo/index.html
#   make test         all tests            make check    style, types, rules
#   make train-emoji  train the shipped models anew        make bench    speed on this machine
#   make check-site   the survey's site in headless Chromium, which must be on the path
#   make parity       measure parity anew: docs/parity.json and the READMEs' tables of models
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test check check-site format train-emoji bench parity clean
.DEFAULT_GOAL := demo

demo: .venv/ready
	$(BIN)/diptych demo --out demo $(DEMO)

test: .venv/ready-dev
	$(BIN)/python -m pytest $(TESTS)

check: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest tests/rules

check-site: .venv/ready-dev
	$(BIN)/python -m tests.catalogue.browser

format: .venv/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-emoji: .venv/ready-dev
	for part in emoji-vq emoji-encoder emoji-vq-sharp \
	    janus-emoji-glyphs janus-emoji-words janus-emoji-names janus-emoji-all \
	    emoji-vq-apart janus-emoji-objects janus-emoji-paint janus-emoji \
	    show-o-emoji-objects show-o-emoji-paint show-o-emoji \
	    emoji-kl-shapes emoji-kl bagel-emoji-first bagel-emoji-objects \
	    bagel-emoji-paint bagel-emoji-edits bagel-emoji; do \
	  $(BIN)/diptych train recipes/$$part.toml --out runs/$$part || exit; done

bench: .venv/ready-dev
	$(BIN)/python -m benchmarks

parity: .venv/ready-dev
	$(BIN)/python -m tests.parity.report

.venv/created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/ready: .venv/created pyproject.toml constraints.txt
	@echo "installing into .venv (some minutes the first time)"
	$(PIP) --editable .
	@touch $@

.venv/ready-dev: .venv/ready
	@echo "installing the development tools into .venv"
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo build dist .ruff_cache .pytest_cache
