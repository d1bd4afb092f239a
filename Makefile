# make demo       see it work: installs what is missing, builds, starts a demo issuer and a demo server, and the app
# make test       vet, staticcheck, unit tests with -race, the programs with a real issuer, keychain, browser and desktop,
#                 and the official conformance suite
# make test-all   that, and what is heavy: builds for other systems, real hosts (Codex and others), issuers (Keycloak,
#                 FastMCP) and servers. At its end it tells what share of it make test was
# make e2e        the end-to-end tests of make test; ROOMS="hosts issuers" runs those, for which scripts/deps all is needed
# make conformance  the official suite alone; UPDATE=1 writes docs/conformance-results.md, RUNS="auth draft" runs these alone
# make build      bin/valetkey, bin/valetkey-window and bin/vk
# make headless   those without the windows: bin/valetkey and bin/vk, without cgo
# make man        bin/man: the man pages of vk
# make lint       formats, vet and staticcheck of every Go file in the tree, and the syntax of all scripts
# make mutate     breaks one rule of docs/conformance.md after the other, in a copy, and fails when no test notices
# make bench      the figures, as ratios against floors measured in the same run; QUICK=1 takes each once and judges none
# make cleanroom  README's two commands in a fresh, minimal Debian 12

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# One set of flags for everything that has C in it: another set would compile that C again.
TAGS    := gles,migrated_fynedo
# The tray of macOS is the one thing in valetkey that needs C.
TRAYCGO := $(if $(filter darwin,$(shell go env GOOS)),1,0)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := go build -trimpath -ldflags '$(LDFLAGS)'
# app needs a -race build of nothing it uses: its driver has races of its own, and it is drawn by pure functions.
RACED   = $(shell go list ./... | grep -v -e /app$$ -e /valetkey-window$$ -e valetkey/valetkey$$)
# What needs no C.
PURE    = $(eval PURE := $(shell go list ./... | grep -v -e /app$$ -e /valetkey-window$$ -e /e2e))$(PURE)
# Programs under testdata, which ./... passes over.
HIDDEN  = $(shell find . \( -name node_modules -o -name '.?*' \) -prune -o -path '*/testdata/*.go' -printf '%h\n' | sort -u)

.PHONY: demo test test-all heavy conformance build headless man mutate bench cleanroom lint unit cross e2e clean FORCE

build:
	@scripts/deps build
	@$(MAKE) --no-print-directory headless bin/valetkey-window

headless: bin/valetkey bin/vk

bin/valetkey: FORCE
	CGO_ENABLED=$(TRAYCGO) $(GOBUILD) -o $@ .

# valetkey runs it only if nobody else can write it, whatever the umask here is.
bin/valetkey-window: FORCE
	CGO_ENABLED=1 $(GOBUILD) -tags $(TAGS) -o $@ ./cmd/valetkey-window
	@chmod go-w $@

bin/vk: FORCE
	CGO_ENABLED=0 $(GOBUILD) -o $@ ./cmd/vk

man:
	CGO_ENABLED=0 go run -tags man ./cmd/vk bin/man

bin/vkdemo: FORCE
	CGO_ENABLED=0 $(GOBUILD) -o $@ ./internal/demo/vkdemo

demo:
	@scripts/deps demo
	@$(MAKE) --no-print-directory build bin/vkdemo
	@scripts/demo

test:
	@scripts/deps test
	@$(MAKE) --no-print-directory lint unit e2e conformance

test-all:
	@scripts/deps all
	@begin=$$(date +%s) && $(MAKE) --no-print-directory test && mid=$$(date +%s) && $(MAKE) --no-print-directory heavy && end=$$(date +%s) && \
		echo "make test took $$((mid - begin)) s of $$((end - begin)) s in all, $$((100 * (mid - begin) / (end - begin))) %"

heavy: cross
	@$(MAKE) --no-print-directory e2e ROOMS="hosts issuers"

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	go vet -tags $(TAGS) ./... $(HIDDEN)
	go vet -tags man ./cmd/vk
	go vet -tags e2e,$(TAGS) ./...
	go tool staticcheck -tags e2e,$(TAGS) ./... $(HIDDEN)
	@bash scripts/syntax

unit:
	CGO_ENABLED=0 DBUS_SESSION_BUS_ADDRESS=disabled: go test ./app .
	DBUS_SESSION_BUS_ADDRESS=disabled: go test -race $(RACED)

# What macOS has in C cannot be built here (it needs Apple's SDK): its windows, and its tray.
SYSTEMS := $(foreach os,linux darwin windows,$(os)/amd64 $(os)/arm64)
cross: $(SYSTEMS)
	@echo "cross: windows/amd64 with windows"
	GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 go vet ./peer # what names no peer, for systems of which we know none
	GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc $(GOBUILD) -tags $(TAGS) -o bin/valetkey-window.exe ./cmd/valetkey-window

$(SYSTEMS): FORCE
	@echo "cross: $@"
	@export GOOS=$(@D) GOARCH=$(@F) CGO_ENABLED=0 && \
		go build -o /dev/null . && go build -o /dev/null ./cmd/vk && go vet $(PURE)

# The end-to-end tests run the programs in bin. One room at a time: two cores are few for a desktop and its clocks.
ROOMS = headless desktop
e2e: build bin/vkdemo
	$(if $(filter desktop,$(ROOMS)),go test -tags e2e -count=1 ./keystore ./tray ./peer)
	go test -tags e2e -count=1 -p 1 -parallel 8 -timeout 20m $(ROOMS:%=./e2e/%)

mutate:
	go run ./e2e/mutate

bench: build bin/vkdemo
	@scripts/deps bench
	go run ./e2e/bench $(if $(QUICK),-quick)

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
