.PHONY: build test lint fuzz cover fixtures ci

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

ci:
	.ci/run
