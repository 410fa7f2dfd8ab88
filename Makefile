# make demo     raise an assistant from raw text in about ten minutes, then say how to talk with it
# make test     the tests;  make test-all  the slow ones too
# make check    format, lint and types
# make bench    how fast this machine trains and samples
# Each sets up .venv first, once.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Without an NVIDIA card the CPU build of torch does, a tenth of the size. Where that index cannot be reached, pip
# goes on with what it finds elsewhere.
ifeq ($(shell command -v nvidia-smi),)
TORCH_INDEX := --extra-index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: demo test test-all check bench clean

demo: $(READY)
	$(BIN)/danlu run --minutes 8 out=runs/demo

# A file's tests stay in one process: a browser, a server, a model are made once for all of them.
test: $(READY)
	$(BIN)/python -m pytest -n logical --dist loadfile

test-all: $(READY)
	$(BIN)/python -m pytest -m "not gpu"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(READY)
	$(BIN)/python bench/training.py S
	$(BIN)/python bench/sampling.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --timeout 15 --no-deps $(TORCH_INDEX) -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv
