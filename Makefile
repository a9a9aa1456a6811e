# anyvip: build, show, test, check, measure. Needs Go, make and a Linux kernel.
# Every target leaves nothing behind but bin/ and Go's own caches.

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TESTSUM := gotest.tools/gotestsum@v1.13.0
export CGO_ENABLED := 0
# The linker's flags carry the commit: a checkout that git calls dubious builds too.
export GOFLAGS := $(shell $(GO) env GOFLAGS) -buildvcs=false

# Counts the packages that go build -v names, and shows everything else.
PROGRESS = /^build failed$$/ { bad = 1; next } \
	/^[^ :]+$$/ { n++; if (tty) printf "\r%d packages compiled", n; else if (n % 50 == 0) print n " packages compiled"; fflush(); next } \
	{ print; fflush() } \
	END { if (tty && n) print ""; exit bad }

.DEFAULT_GOAL := help
.PHONY: help build image demo test check lint bench bench-quick generate peers clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/anyvip and bin/anyvip-lab
	@echo "building bin/anyvip and bin/anyvip-lab; the first time, some 450 packages are loaded and compiled"
	@{ $(GO) build -v -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/anyvip ./cmd/anyvip-lab 2>&1 || echo "build failed"; } | \
	awk -v tty="$$(test -t 1 && echo 1)" '$(PROGRESS)'

image: build ## the container images ghcr.io/anyvip/anyvip and ghcr.io/anyvip/lab
	@for name in lab anyvip; do \
		docker build --quiet -f packaging/Dockerfile --target $$name --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' \
			-t ghcr.io/anyvip/$$name:latest . || exit; \
	done

demo: build ## the story, told while it happens, root or not; under 45 s
	@bin/anyvip-lab demo

# Most of its time goes by waiting for routers: hence more at once than there are processors, and the longest package first.
test: peers ## everything, with the race detector, against real FRR, BIRD, keepalived, HAProxy, NGINX, PostgreSQL and unbound
	@CGO_ENABLED=1 $(GO) run $(TESTSUM) --format pkgname -- -race -count=1 -timeout 15m -parallel 4 ./lab/integration ./bgp/gobgp ./...

check: lint ## gofmt, vet, golangci-lint, import rules, the generated reference
	@bad="$$(gofmt -l .)" && test -z "$$bad" || { echo "$$bad"; echo "run gofmt on these files"; exit 1; }
	@$(GO) vet ./...
	@$(GO) test ./pkg/agent -run 'TestImports|TestEachLibrary|TestThePureCore' -count=1
	@$(GO) test ./pkg/config ./pkg/policy -run 'TestReference|TestReasonsAre' -count=1

lint:
	@echo "golangci-lint (the first time compiles it: some minutes)"
	@$(GO) run $(LINT) run ./...

bench: build peers ## beside BIRD, ExaBGP, gobgpd and keepalived; writes docs/benchmarks.md; three quarters of an hour
	$(call micro,)
	@bin/anyvip-lab bench --write docs/benchmarks.md --micro bin/bench.txt

bench-quick: build peers ## the same in small, under 3 minutes; writes nothing
	$(call micro,-benchtime 50ms -skip PeersTable)
	@bin/anyvip-lab bench --quick

# What the parts of the daemon cost; $(1) are flags of go test.
define micro
	@{ $(GO) test -run '^$$' -bench . $(1) ./pkg/policy ./pkg/agent ./pkg/flow ./pkg/hint ./checks ./bgp/... || echo "FAIL: see above"; } | tee bin/bench.txt
	@! grep -q '^FAIL' bin/bench.txt
endef

generate: ## the protocol's Go code, the reference, the table of defaults
	@$(GO) generate ./...

peers: ## FRR, BIRD, keepalived, HAProxy, NGINX, PostgreSQL, unbound, ExaBGP and gobgpd from Debian, when root and missing; starts no service
	@lab/peers.sh

clean: ## remove bin/
	@rm -rf bin
