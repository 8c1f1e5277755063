# What a developer types. Set-up lives in scripts/, so a bare machine works too.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/walctl/walctl/internal/cli.Version=$(VERSION)
TOOLS   := $(CURDIR)/.cache/bin
FUZZTIME ?= 60s

.PHONY: build try test test-short lint fuzz hammer bench release-check clean

build: ## static binary ./walctl
	CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -ldflags '$(LDFLAGS)' -o walctl .

try: ## set up, build, and run the main job on the embedded default
	scripts/try

test: ## set up everything, real Pulsar and etcd included, and pass all tests
	scripts/test

test-short: ## unit tests only: no services, under two minutes
	$(GO) test -short ./...

lint: ## linters and import arrows
	scripts/tools golangci-lint
	$(TOOLS)/golangci-lint run ./...

fuzz: ## every fuzz target for FUZZTIME (60s, or executions: 10000000x); FUZZ=regexp chooses
	scripts/fuzz $(FUZZTIME) '$(FUZZ)' $(FUZZ_PARALLEL)

hammer: ## every decoder with 10,000,000 damaged inputs, the same each time
	WALCTL_HAMMER=10000000 $(GO) test -timeout 2h -run Hammer -v ./pkg/walreader/...

bench: ## benchmarks with their ratios
	scripts/bench

release-check: ## every release artifact, unpublished
	scripts/tools goreleaser syft
	PATH="$(TOOLS):$$PATH" goreleaser check
	PATH="$(TOOLS):$$PATH" goreleaser release --snapshot --clean --skip=publish,docker

clean:
	rm -rf walctl dist .cache
