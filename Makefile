# make demo       see it work: installs what is missing, builds, starts a demo issuer and a demo server, and the app
# make test       everything: vet, staticcheck, unit tests with -race, cross builds, end-to-end tests with real parts,
#                 the official conformance suite
# make conformance  that suite alone; UPDATE=1 writes docs/conformance-results.md, RUNS="auth draft" runs these alone
# make issuers    the end-to-end tests with real issuers, Keycloak among them, which make test leaves out
# make build      bin/valetkey and bin/vk
# make headless   bin/valetkey-headless: no windows, no cgo
# make mutate     breaks one rule of docs/conformance.md after the other, in a copy, and fails when no test notices
# make bench      the figures, as ratios against floors measured in the same run
# make cleanroom  README's two commands in a fresh, minimal Debian 12

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# One set of flags for everything that has C in it: another set would compile that C again.
TAGS    := gles,migrated_fynedo
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := go build -trimpath -ldflags '$(LDFLAGS)'
# app needs a -race build of nothing it uses: its driver has races of its own, and it is drawn by pure functions.
RACED   = $(shell go list ./... | grep -v -e /app$$ -e valetkey/valetkey$$)
PURE    = $(shell go list -tags headless ./... | grep -v -e /app$$ -e /e2e)

.PHONY: demo test issuers conformance build headless mutate bench cleanroom lint unit cross e2e clean FORCE

build:
	@scripts/deps build
	CGO_ENABLED=1 $(GOBUILD) -tags $(TAGS) -o bin/valetkey .
	@$(MAKE) --no-print-directory bin/vk

bin/vk: FORCE
	CGO_ENABLED=0 $(GOBUILD) -o bin/vk ./cmd/vk

headless: bin/vk
	CGO_ENABLED=0 $(GOBUILD) -tags headless -o bin/valetkey-headless .

bin/vkdemo: FORCE
	CGO_ENABLED=0 $(GOBUILD) -o bin/vkdemo ./internal/demo/vkdemo

demo:
	@scripts/deps demo
	@$(MAKE) --no-print-directory build bin/vkdemo
	@scripts/demo

test:
	@scripts/deps test
	@$(MAKE) --no-print-directory lint unit cross e2e conformance

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	go vet -tags $(TAGS) ./...
	go vet -tags headless $(PURE)
	go vet -tags e2e,$(TAGS) ./...
	go tool staticcheck -tags e2e,$(TAGS) ./...

unit:
	CGO_ENABLED=0 DBUS_SESSION_BUS_ADDRESS=disabled: go test -tags headless ./app . 
	DBUS_SESSION_BUS_ADDRESS=disabled: go test -race $(RACED)

# macOS cannot be built with its windows here (they need Apple's SDK), so there it is all packages but app.
cross:
	@for os in linux darwin windows; do for arch in amd64 arm64; do \
		echo "cross: $$os/$$arch"; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -tags headless -o /dev/null . && \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -o /dev/null ./cmd/vk && \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go vet -tags headless $(PURE) || exit 1; done; done
	@echo "cross: windows/amd64 with windows"
	GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc $(GOBUILD) -tags $(TAGS) -o bin/valetkey.exe .

# The end-to-end tests run the programs in bin.
e2e: build headless bin/vkdemo
	go test -tags e2e -count=1 ./keystore ./tray ./peer
	go test -tags e2e -count=1 -p 1 -timeout 20m ./e2e/headless ./e2e/desktop ./e2e/hosts
	go test -tags e2e -count=1 -timeout 20m -skip "^TestLifeAtKeycloak" ./e2e/issuers

mutate:
	go run ./e2e/mutate

issuers:
	@scripts/deps issuers
	@$(MAKE) --no-print-directory headless bin/vkdemo
	go test -tags e2e -count=1 -timeout 20m ./e2e/issuers

bench: build headless bin/vkdemo
	@scripts/deps bench
	go run ./e2e/bench

# The suite plays server and issuer for a host of ours, which goes through vk bridge and the app.
conformance: headless bin/vkdemo
	@scripts/deps conformance
	CGO_ENABLED=0 go build -o bin/conformance ./e2e/conformance
	@bin/conformance $(if $(UPDATE),--update) $(RUNS)

cleanroom:
	@scripts/deps cleanroom
	@scripts/cleanroom

clean:
	rm -rf bin

FORCE:
