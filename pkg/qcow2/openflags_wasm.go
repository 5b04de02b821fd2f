package qcow2

import "os"

// openFlags are those of a file for reading.
const openFlags = os.O_RDONLY
