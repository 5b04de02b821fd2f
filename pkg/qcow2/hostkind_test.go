package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

func TestHostKind(t *testing.T) {
	kinds := map[string]struct{ metadata, referenced bool }{
		"header": {true, true}, "refcount-table": {true, true}, "l1-table": {true, true}, "snapshot-table": {true, true},
		"bitmap-directory": {true, true}, "bitmap-table": {true, true}, "encryption-header": {true, true},
		"refcount-block": {true, true}, "bitmap-data": {true, true}, "l2-table": {true, true},
		"data": {false, true}, "zero-allocated": {false, true}, "compressed": {false, true}, "vm-state": {false, true},
		"leaked": {false, false}, "free": {false, false}, "unknown": {false, false},
	}
	for i, name := range qcow2.HostKindNames() {
		want, ok := kinds[name]
		if k := qcow2.HostKind(i); !ok || k.Metadata() != want.metadata || k.Referenced() != want.referenced {
			t.Errorf("%s: metadata %t, referenced %t, want %+v", name, k.Metadata(), k.Referenced(), want)
		}
	}
}
