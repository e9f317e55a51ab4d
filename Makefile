# Each target sets up what it needs: a virtual environment in .venv with the pinned packages.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-jax test-torch lint bench clean

.venv/installed: requirements.txt
	@echo "Setting up .venv with $$($(PYTHON) --version) and the packages of requirements.txt ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

demo: .venv/installed
	@echo "Training ResNet-14 on handwritten digits: the baseline and the three units, about two minutes ..."
	$(BIN)/python train_cifar.py --config configs/digits.yaml

test: .venv/installed
	@echo "Running the tests, about five minutes on 2 cores ..."
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov=iclayer --cov=models --cov=training

test-jax: .venv/installed
	@echo "Comparing the networks on JAX and TensorFlow ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "jax[cpu]==0.10.2"
	$(BIN)/python -m pytest tests/test_backends.py -k jax

test-torch: .venv/installed
	@echo "Comparing the networks on PyTorch and TensorFlow ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pytest tests/test_backends.py -k torch

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	@echo "Measuring what checkpoints and records cost, about three minutes ..."
	$(BIN)/python benchmarks/checkpoint_cost.py

clean:
	rm -rf .venv
