# `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
SERVE := .venv/bin/python
DEV := .venv-dev/bin/python

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Countersign needs Python 3.11 to 3.13; say which with PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(SERVE) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv-dev/ready: requirements.txt requirements-dev.txt training/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Countersign needs Python 3.11 to 3.13; say which with PYTHON=python3.12")'
	$(PYTHON) -m venv .venv-dev
	$(DEV) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: install
install: .venv/ready ## Make the environment that serves (no TensorFlow)

.PHONY: demo
demo: .venv/ready ## Enrol, verify, search and remove over HTTP, on drawn samples, and show it
	$(SERVE) -m service demo

.PHONY: serve
serve: .venv/ready ## Keep a server up; prints a first API key once
	@$(SERVE) -m service migrate
	@$(SERVE) -m service create-key --first --scopes enrol,verify,search,review,audit,models,admin
	@$(SERVE) -m service serve

.PHONY: install-dev
install-dev: .venv-dev/ready ## Make the environment that tests, trains and measures

.PHONY: test
test: .venv-dev/ready ## Run the fast tests
	$(DEV) -m pytest -m "not slow" --numprocesses 2 --dist loadfile

.PHONY: test-slow
test-slow: .venv-dev/ready ## Run the slow tests: kills, fleets, training from end to end
	$(DEV) -m pytest -m slow

.PHONY: lint
lint: .venv-dev/ready ## Style, types, layers, migrations against models, OpenAPI
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	$(DEV) -m mypy
	.venv-dev/bin/lint-imports
	$(DEV) -m service check-schema
	$(DEV) -m service openapi | $(DEV) -m openapi_spec_validator -

.PHONY: check
check: lint test test-slow test-sagemaker test-serving-image ## Everything that must hold before a change goes in

.PHONY: format
format: .venv-dev/ready ## Format the code
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .

.PHONY: bench
bench: .venv-dev/ready ## Measure, beside the reference way; needs COUNTERSIGN_DATA
	$(DEV) -m benchmarks

SET ?= sets/cedar
LOCAL := .venv-sagemaker/bin/python

# SageMaker's own toolkit apart from what tests, because it brings much; it sees the packages that are there already.
.venv-sagemaker/ready: .venv-dev/ready
	$(PYTHON) -m venv .venv-sagemaker
	$(DEV) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(LOCAL) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dev.pth"
	$(LOCAL) -m pip install --quiet --disable-pip-version-check sagemaker-training==5.1.4
	@touch $@

.PHONY: test-sagemaker
test-sagemaker: .venv-sagemaker/ready ## Prove that SageMaker's own toolkit trains, through a kill, and tells failures
	$(LOCAL) -m pytest tests/toolkit.py

.venv-serving/ready:
	$(PYTHON) -m venv .venv-serving
	.venv-serving/bin/python -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
	@touch $@

.PHONY: test-serving-image
test-serving-image: .venv-dev/ready .venv-serving/ready ## Prove that the TensorFlow of SageMaker's serving image answers the same
	SERVING_PYTHON=.venv-serving/bin/python $(DEV) -m pytest tests/serving_image.py

.PHONY: train-local
train-local: .venv-sagemaker/ready ## Train as SageMaker's container would, without Docker: SET=a training set, ARGS=more
	$(LOCAL) -m training.local --data $(SET) $(ARGS)

.PHONY: clean
clean: ## Remove environments and caches, never data (var/)
	rm -rf .venv .venv-dev .venv-sagemaker .venv-serving .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
