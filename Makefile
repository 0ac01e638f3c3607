# Everything a checkout can do; `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS = $(shell find proto -name '*.proto' | LC_ALL=C sort)
# Compiled apart: what is made for production has none of it.
SANDBOX_PROTOS = $(shell find server/sandbox/proto -name '*.proto' | LC_ALL=C sort)

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The import roots: this folder for server and gateway, gen for the stubs.
	@printf '%s\n' "$(CURDIR)" "$(CURDIR)/gen" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/billing.pth"

$(BIN)/billing-server: | $(VENV)/bin/python
	@printf '#!/bin/sh\nexec "%s" -P -m server "$$@"\n' '$(CURDIR)/$(BIN)/python' >$@ && chmod +x $@

$(BIN)/billing: | $(VENV)/bin/python
	@printf '#!/bin/sh\nexec "%s" -P -m client "$$@"\n' '$(CURDIR)/$(BIN)/python' >$@ && chmod +x $@

$(VENV)/run.stamp: requirements/run.txt | $(VENV)/bin/python $(BIN)/billing-server $(BIN)/billing
	@echo "installing what the service runs on …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@# As pip does with what it installs: else the first start takes a second more.
	@$(BIN)/python -m compileall -q contract files gateway gen server
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(VENV)/bin/python $(BIN)/billing-server $(BIN)/billing
	@echo "installing what the service is built and tested with …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $(VENV)/run.stamp $@

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/run.stamp
	@echo "installing what the service is measured with …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

# In an environment of its own: what examines deploy/ wants other versions of what the service runs on.
build/deploy/bin/python: requirements/deploy.txt
	@echo "installing what deploy/ is examined with …"
	@$(PYTHON) -m venv build/deploy
	@build/deploy/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/deploy.txt
	@touch $@

run: $(VENV)/run.stamp ## start everything on this machine, WORKERS=N servers of it; Ctrl-C stops it
	@exec env $(if $(WORKERS),BILLING_WORKERS=$(WORKERS)) $(BIN)/python -m server dev

gen: $(VENV)/dev.stamp ## make gen/ and envoy.yaml anew from proto/
	@rm -rf build/gen build/include && mkdir -p build/gen build/include/google/{api,rpc,longrunning}
	@# Google's protos come with googleapis-common-protos, which ships operations.proto under another
	@# name than the one that its stubs are registered by.
	@google=$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/google; \
	for part in api rpc; do cp $$google/$$part/*.proto build/include/google/$$part/; done; \
	cp $$google/longrunning/operations_proto.proto build/include/google/longrunning/operations.proto; \
	export PATH="$(CURDIR)/$(BIN):$$PATH"; \
	protoc="python -m grpc_tools.protoc -Iproto -Ibuild/include"; \
	$$protoc --python_out=build/gen --mypy_out=quiet:build/gen --grpc_python_out=build/gen --mypy_grpc_out=quiet:build/gen $(PROTOS); \
	googles="google/longrunning/operations.proto google/rpc/error_details.proto"; \
	$$protoc --descriptor_set_out=build/gen/descriptors.pb --include_imports --include_source_info $(PROTOS) $$googles; \
	protoc="$$protoc -Iserver/sandbox/proto"; \
	$$protoc --python_out=build/gen --mypy_out=quiet:build/gen --grpc_python_out=build/gen --mypy_grpc_out=quiet:build/gen $(SANDBOX_PROTOS); \
	$$protoc --descriptor_set_out=build/gen/sandbox.pb --include_imports $(PROTOS) $(SANDBOX_PROTOS) $$googles
	@rm -rf gen && mv build/gen gen
	@$(BIN)/python -m gateway generate

gen-check: gen ## fail if gen/ or envoy.yaml differ from what proto/ gives
	@test -z "$$(git status --porcelain -- gen envoy.yaml)" || { git status --porcelain -- gen envoy.yaml; echo "generated files differ: run 'make gen' and commit what it changes"; exit 1; }

baseline: gen ## make the protos as they are now the contract that buf holds later ones to
	@cp gen/descriptors.pb proto/baseline.binpb

lock: $(VENV)/bin/python ## pin what pyproject.toml asks for, with hashes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@for part in run dev bench; do $(BIN)/uv pip compile --quiet pyproject.toml $$([ $$part = run ] || echo --group $$part -c requirements/run.txt) \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/$$part.txt; done
	@$(BIN)/uv pip compile --quiet --group deploy \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/deploy.txt
	@$(BIN)/uv pip compile --quiet --group failover \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/failover.txt
	@for file in tests/clients/*/requirements.in; do $(BIN)/uv pip compile --quiet $$file \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o $${file%.in}.txt; done
	@for file in tests/clients/*/package.json; do (cd "$${file%/*}" && npm install --silent --package-lock-only); done

lint: gen ## style of Python and protos, and who may import whom
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/buf lint
	@$(BIN)/buf breaking 'gen/descriptors.pb#format=binpb' --against proto/baseline.binpb

format: $(VENV)/dev.stamp ## lay the code out
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

types: $(VENV)/dev.stamp ## strict types
	@$(BIN)/mypy client contract files server gateway testing tests bench

browser: ## install the Chromium that tests look at /docs with, where it is missing
	@command -v chromium >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "install Chromium so that 'chromium' is on the PATH"; exit 1; }; \
	  echo "installing chromium …"; \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

test: $(VENV)/dev.stamp browser ## all tests, on the real Envoy, databases and SMTP; JOBS=3 files at a time
	@# One seed for all its processes, which must list the tests in one order, even those of a set.
	@# What fails while others run is tried once more by itself: only a fault fails alone on a quiet machine too.
	@PYTHONHASHSEED=$$RANDOM $(BIN)/python -m pytest -q -n $(or $(JOBS),3) || { [ $$? = 1 ] && \
	  echo "once more, one at a time: what failed beside others" && $(BIN)/python -m pytest -q --last-failed --maxfail=3; }

fuzz: $(VENV)/dev.stamp ## N=100000 inputs that nobody should send, SEED=… the same again, AGAIN=build/fuzz/000.json a kept one; exit 1 for an answer outside the contract
	@$(BIN)/python -m tests.fuzz $(or $(N),10000) $(if $(SEED),--seed $(SEED)) $(if $(AGAIN),--again $(AGAIN))

chaos: $(VENV)/dev.stamp ## kill its processes 200 times under load; exits with 1 if anything was lost
	@$(BIN)/python -m tests.chaos $(if $(KILLS),--kills $(KILLS))

failover: $(VENV)/dev.stamp ## have its database fail over under load, each fault alone, then RANDOM_FAULTS=N; THROUGH=haproxy or pgbouncer, POSTGRESQL=18, FAULTS="'leader frozen' …"
	@$(BIN)/python -m tests.failover $(if $(RANDOM_FAULTS),--random $(RANDOM_FAULTS)) $(if $(SEED),--seed $(SEED)) $(if $(THROUGH),--through $(THROUGH)) $(if $(POSTGRESQL),--postgresql $(POSTGRESQL)) $(FAULTS)

upgrade-drill: $(VENV)/dev.stamp ## upgrade under load from the release before, or FROM=commit, on both databases; exits with 1 if a call failed
	@$(BIN)/python -m tests.upgrade $(if $(FROM),--from $(FROM)) $(if $(LOAD_S),--load-s $(LOAD_S))

strangers: $(VENV)/dev.stamp ## attack it as strangers and greedy callers do, ATTACKS="idle …" only these; exits with 1 if the others noticed
	@$(BIN)/python -m tests.strangers $(ATTACKS)

bounces: $(VENV)/dev.stamp ## ten thousand invitations, of which three in a hundred come back; exits with 1 if a state is wrong
	@BOUNCE_COUNT=10000 $(BIN)/python -m pytest -q tests/bounces/test_volume.py

imports: $(VENV)/dev.stamp ## an import of 2000 customers that is killed 50 times at random; exits with 1 if one is invited twice or not at all
	@IMPORT_KILLS=50 IMPORT_ROWS=2000 $(BIN)/python -m pytest -q tests/client/test_import.py -k killed

split: $(VENV)/dev.stamp ## share the resellers out over 4 databases and move one; exits with 1 if any answer differs from one database's
	@$(BIN)/python -m tests.split

mutants: $(VENV)/dev.stamp ## make single-line bugs and see that tests notice; AREAS="storage …", ONLY='*lock*'; exit 1 below 95 %
	@$(BIN)/python -m tests.mutants $(AREAS) $(if $(ONLY),--only '$(ONLY)') $(if $(JOBS),--jobs $(JOBS))

test-clients: $(VENV)/dev.stamp ## official and generic clients against the service; prints a table
	@$(BIN)/python -m pytest -q tests/clients

generators: $(VENV)/dev.stamp ## clients that generators make of /openapi.json and proto/, compiled and used; needs Java
	@GENERATORS=1 $(BIN)/python -m pytest -q tests/clients/test_clients.py -k 'openapi or hey_api or gapic'

docs: $(VENV)/dev.stamp ## make the site of docs/ in build/docs; fails where a link leads nowhere
	@mkdir -p build && $(BIN)/zensical build --strict >build/docs.log 2>&1 || { cat build/docs.log; exit 1; }
	@echo "build/docs/index.html"

deploy-check: build/deploy/bin/python ## examine deploy/: image, Compose, Kubernetes, systemd, alerts
	@deploy/check.sh build/deploy/bin

check: gen-check lint types docs deploy-check test ## what CI runs

dist: gen build/deploy/bin/python ## build the wheel, which gives the command billing-server, and its bill of materials, into build/dist
	@rm -rf build/dist && $(BIN)/python -m build --wheel --no-isolation --outdir build/dist >build/dist.log || { cat build/dist.log; exit 1; }
	@build/deploy/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o build/dist/billing-service.cdx.json requirements/run.txt 2>build/sbom.log || { cat build/sbom.log; exit 1; }
	@ls build/dist

bench-tools:
	@command -v wrk >/dev/null && command -v h2load >/dev/null && command -v valgrind >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "install wrk, h2load (part of nghttp2) and valgrind so that all are on the PATH"; exit 1; }; \
	  echo "installing wrk, h2load and valgrind …"; \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends wrk nghttp2-client valgrind >/dev/null; }

bench: $(VENV)/bench.stamp bench-tools ## measure beside baselines, half an hour; QUICK=1: minutes; ROWS=1+2,3: only these
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-grpcio: $(VENV)/bench.stamp ## what an empty call costs on each version of grpcio; VERSIONS="1.80.1 …"
	@$(BIN)/python -m bench.grpcio $(VERSIONS)

bench-profile: $(VENV)/bench.stamp ## where the server spends its time; METHOD=get, empty, two, worker or send
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench.profile $(or $(METHOD),invite)

.PHONY: help run gen gen-check baseline lock lint format types browser test test-clients generators fuzz chaos failover bounces split mutants strangers docs deploy-check check dist bench bench-tools bench-grpcio bench-profile
