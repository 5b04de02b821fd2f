.PHONY: build test lint fuzz cover fixtures snapshot ci

build:
	go build .

test:
	go test ./...

lint:
	.ci/run format vet lint

fuzz:
	.ci/run fuzz

cover:
	go test -coverprofile=coverage.out -coverpkg=./... ./...
	go tool cover -func=coverage.out

# Needs qemu-img and qemu-io.
fixtures:
	testdata/images/make.sh

# Needs goreleaser and cyclonedx-gomod.
snapshot:
	goreleaser release --snapshot --clean

ci:
	.ci/run
