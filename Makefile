# make demo: install, train two small models, write a report. make test: everything that CI runs but the linters.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Extra arguments for pip, for example an index of CPU wheels of PyTorch on Linux without a GPU.
PIP_ARGS ?=
ONLY ?=

.PHONY: install demo test check wheel bench docs clean
.DELETE_ON_ERROR:

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[train,qlora,hub,dev]'
	touch $@

# What the tests need besides: other people's harnesses, which the demo does not.
$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[train,qlora,hub,eval,inspect,dev]'
	touch $@

demo: install
	$(BIN)/seqtune demo --out runs/demo

test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest

check: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The package as its users get it: built, installed without extras into an environment of its own, and tried.
wheel:
	$(PYTHON) -m venv --clear $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip wheel --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps --wheel-dir $(VENV)-wheel .
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt $(VENV)-wheel/seqtune-*.whl
	.ci/try $(VENV)-wheel/bin

bench: $(VENV)/.installed-for-tests
	$(BIN)/python -m bench $(ONLY)

clean:
	rm -rf $(VENV) $(VENV)-wheel .pytest_cache .mypy_cache .ruff_cache .hypothesis

docs: install
	$(BIN)/python docs/make_reference.py
