# What can be done here. `make demo` and `make test` set up all they need on a Debian 12.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
FRONT := printerd/console/static/vendor/ready
LOCKS := requirements/build.txt requirements/runtime.txt requirements/cups.txt requirements/test.txt
FUZZER := build/fuzz/library
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo fuzz test test-service conformance conformance-pwg kills tampering bench soak check format lock front deb install uninstall clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(READY) $(FRONT) ## System packages, virtual environment, front-end files

demo: setup ## Print the sample invoices and watch them go the whole way (ONCE=1 ends after the table)
	@$(BIN)/invoice-printer demo $(if $(ONCE),--once)

test: setup ## Every test, in under ten minutes on two cores
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder tests

test-service: setup ## The service in a Debian 12 that is booted for it (root; systemd-nspawn)
	@tools/packages.sh requirements/test-service.txt
	$(BIN)/pytest -q -p no:cacheprovider tests/service/booted

conformance: setup ## The suites of CUPS for IPP 1.1 to 2.2 and IPP Everywhere, each to its last test
	$(BIN)/pytest -q -s tests/conformance/test_raster.py tests/conformance/test_suites.py

conformance-pwg: setup ## The self-certification of IPP Everywhere; SELFCERT=DIR holds its files (istopwg/ippeveselfcert)
	SELFCERT="$(SELFCERT)" $(BIN)/pytest -q -s tests/conformance/test_selfcert.py

fuzz: setup $(FUZZER)/ready ## Whatever reads foreign bytes against a fuzzer: half an hour (MINUTES=N, or EXECUTIONS=N of each; TARGETS="ipp lpd")
	PYTHONPATH=$(FUZZER) $(BIN)/python -m tests.fuzz $(if $(EXECUTIONS),--executions $(EXECUTIONS),--minutes $(or $(MINUTES),30)) $(TARGETS)

kills: setup ## 200 kills over 300 invoices, and the account afterwards: a quarter of an hour (SEED=N repeats one)
	$(BIN)/python -m tests.faults --kills 200 --invoices 300 $(if $(SEED),--seed $(SEED))

tampering: setup ## 2,000 random bytes of an archive changed, one at a time: is each named? Five minutes (SEED=N repeats one)
	$(BIN)/python -m tests.tampering --changes 2000 $(if $(SEED),--seed $(SEED))

bench: setup ## Ours, peers and the machine's floor in one run (PARTS="idle rate" runs some, JSON=FILE keeps the rows)
	@tools/packages.sh requirements/bench.txt
	$(BIN)/python -m bench $(PARTS) $(if $(JSON),--json $(JSON))

soak: setup ## 100,000 jobs taken, 10,000 followed to the end, hostile neighbours (JOBS=, PROCESSED= for less, JSON=FILE keeps the rows)
	$(BIN)/python -m bench soak --accepted $(or $(JOBS),100000) --processed $(or $(PROCESSED),10000) $(if $(JSON),--json $(JSON))

check: setup ## Format, lint, types, import contracts, security, vulnerabilities and licences of what it stands on
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml printerd receipt_service tools
	$(BIN)/python tools/audit.py
	$(BIN)/python tools/licences.py

format: setup ## Let ruff write the code its way
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Pin the requirements anew, with hashes and without addresses
	$(BIN)/pip install --quiet pip-tools
	cd requirements && for set in runtime cups build test fuzz; do \
		../$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
			--annotation-style=line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
			--output-file $$set.txt $$set.in; done

deb: ## The package of the service for this release of Debian, in build/
	@packaging/deb/build

install: deb ## The package made and put on this machine; README tells what comes next (root)
	@apt-get install --yes --quiet --reinstall --allow-downgrades ./build/invoice-printer_*.deb

uninstall: ## Take the service away; settings and archive stay (root)
	@apt-get remove --yes --quiet invoice-printer

clean: ## Remove what setup and demo made
	rm -rf .venv node_modules demo-state build printerd/console/static/vendor

# ca-certificates and the like come with apt's own dependencies; root is only needed when a package is missing.
$(READY): requirements/debian.txt $(LOCKS) pyproject.toml
	@tools/packages.sh requirements/debian.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes $(addprefix -r ,$(LOCKS))
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The fuzzer's own library lies beside the environment: no test needs it, and none finds it.
$(FUZZER)/ready: requirements/fuzz.txt $(READY)
	rm -rf $(FUZZER)
	$(BIN)/pip install --quiet --require-hashes --no-deps --target $(FUZZER) --requirement requirements/fuzz.txt
	@touch $@

$(FRONT): package.json package-lock.json tools/front.py $(READY)
	$(BIN)/python tools/front.py
	@touch $@

front: $(FRONT)
