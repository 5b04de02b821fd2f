//go:build !wasm

package qcow2

import (
	"os"
	"syscall"
)

// openFlags are those of a file for reading that may turn out to be a pipe.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK
