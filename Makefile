# What can be done here. `make demo` and `make test` set up all they need on a Debian 12.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
FRONT := printerd/console/static/vendor/ready
LOCKS := requirements/build.txt requirements/runtime.txt requirements/test.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check format lock front clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY) $(FRONT) ## System packages, virtual environment, front-end files

demo: setup ## Print the sample invoices and watch them go the whole way (ONCE=1 ends after the table)
	@$(BIN)/invoice-printer demo $(if $(ONCE),--once)

test: setup ## Every test, in under ten minutes on two cores
	$(BIN)/pytest -q -n 3 --dist loadfile

check: setup ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Let ruff write the code its way
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Pin the requirements anew, with hashes and without addresses
	$(BIN)/pip install --quiet pip-tools
	cd requirements && for set in runtime build test; do \
		../$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
			--annotation-style=line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
			--output-file $$set.txt $$set.in; done

clean: ## Remove what setup and demo made
	rm -rf .venv node_modules demo-state build printerd/console/static/vendor

# ca-certificates and the like come with apt's own dependencies; root is only needed when a package is missing.
$(READY): requirements/debian.txt $(LOCKS) pyproject.toml
	@missing=$$(for package in $$(cat requirements/debian.txt); do \
		dpkg-query --show --showformat='$${Status}\n' $$package 2>/dev/null | grep -q ' installed$$' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		if [ $$(id -u) = 0 ]; then as=; else as=sudo; fi; \
		echo "Installing from Debian:" $$missing; \
		$$as apt-get update -qq && \
		$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes $(addprefix -r ,$(LOCKS))
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(FRONT): package.json package-lock.json tools/front.py $(READY)
	$(BIN)/python tools/front.py
	@touch $@

front: $(FRONT)
