# Everything a fresh machine needs is python3.11+ and make.
#   make demo    from a recipe to a served INT8 model
#   make demo-llm   the same for a language model: INT4, vLLM
#   make test    all tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# uv does not read pip's settings: pass the folder of local wheels on. TORCH_BACKEND=cpu asks uv for the
# CPU build of torch where the package index would give the CUDA one.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
TORCH_BACKEND ?=
UV_FLAGS := $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND))
export BENTOML_DO_NOT_TRACK = True

.PHONY: install demo demo-llm test serve bench bench-llm check format clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "quantbento needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python $(UV_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python examples/demo.py

demo-llm: install
	$(BIN)/python examples/demo_llm.py

test: install
	$(BIN)/python -m pytest

serve: install
	$(BIN)/bentoml serve --host 127.0.0.1

bench: install
	$(BIN)/python benchmarks/embedding_service.py

bench-llm: install
	$(BIN)/python benchmarks/llm_service.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache build src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
