# Two commands: `make demo` shows what the tool does, `make test` proves that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
DEMO := reports-demo

.PHONY: help demo test lint format pytest benchmark-detection benchmark-speed clean

help:
	@echo "make demo    install, check the digits example and its broken twin, write two reports"
	@echo "make test    install, lint and run every test"
	@echo "make lint    ruff and mypy --strict"
	@echo "make benchmark-detection   bugs found and false alarms over the corpus (minutes)"
	@echo "make benchmark-speed       times beside torchtest2 and torch's own tools (minutes)"

# One stamp: installing again happens only when the pinned versions or the packaging change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; torch is large)"
	@$(PIP) install -c constraints.txt -e '.[test,examples,lightning,transformers]'
	@touch $@

demo: $(VENV)/.installed
	@mkdir -p $(DEMO)
	$(BIN)/recipe-check examples/digits_cnn.py --html $(DEMO)/digits_cnn.html
	-$(BIN)/recipe-check examples/digits_broken.py --html $(DEMO)/digits_broken.html
	@echo
	@echo "Two reports to open in a browser (the second is meant to fail):"
	@echo "  $(DEMO)/digits_cnn.html"
	@echo "  $(DEMO)/digits_broken.html"

test: lint pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pytest: $(VENV)/.installed
	$(BIN)/python -m pytest

benchmark-detection: $(VENV)/.installed
	$(BIN)/python -m benchmarks.detection --write

benchmark-speed: $(VENV)/.installed
	@$(PIP) install --no-deps -c constraints.txt torchtest2
	$(BIN)/python -m benchmarks.speed --write

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
