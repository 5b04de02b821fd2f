package qcow2_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A deviceInfo is that of a block device.
type deviceInfo struct{ fs.FileInfo }

func (deviceInfo) Mode() fs.FileMode { return fs.ModeDevice }

// TestOpenElsewhere: the locks of QEMU tell what it does. A device without any can
// have been opened by another node.
func TestOpenElsewhere(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		locked int64 // the byte that another program has locked
		want   qcow2.Elsewhere
	}{{0, qcow2.ElsewhereNo}, {99, qcow2.ElsewhereNo}, {100, qcow2.ElsewhereReading}, {101, qcow2.ElsewhereWriting}, {102, qcow2.ElsewhereNo}, {103, qcow2.ElsewhereWriting}} {
		holder, reader := openForLocks(t, name), openForLocks(t, name)
		const setOFDLock = 37 // F_OFD_SETLK of fcntl(2)
		if err := syscall.FcntlFlock(holder.Fd(), setOFDLock, &syscall.Flock_t{Type: syscall.F_RDLCK, Start: tt.locked, Len: 1}); err != nil {
			t.Fatal(err)
		}
		info, err := reader.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := qcow2.HostFileWith(reader, info).OpenElsewhere(); got != tt.want || !ok {
			t.Errorf("byte %d of a file: %v, %t", tt.locked, got, ok)
		}
		known := tt.want != qcow2.ElsewhereNo
		if got, ok := qcow2.HostFileWith(reader, deviceInfo{info}).OpenElsewhere(); got != tt.want || ok != known {
			t.Errorf("byte %d of a device: %v, %t", tt.locked, got, ok)
		}
		holder.Close()
	}
}

// openForLocks opens a file until the test ends.
func openForLocks(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
