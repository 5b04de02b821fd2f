package qcow2_test

import (
	"errors"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestBackingFile(t *testing.T) {
	tests := map[string]struct {
		patches map[string]uint64
		name    string
		kind    error
	}{
		"healthy":                {nil, "base\x00.qcow2", nil},
		"in the second cluster":  {map[string]uint64{"backing_file_offset": 0x10000, "backing_file_size": 2}, "\x00\x00", nil},
		"size beyond the limit":  {map[string]uint64{"backing_file_size": 1024}, "", limit},
		"largest size":           {map[string]uint64{"backing_file_size": 0xffffffff}, "", limit},
		"offset past the end":    {map[string]uint64{"backing_file_offset": 1 << 40}, "", qcow2.ErrTruncated},
		"largest offset":         {map[string]uint64{"backing_file_offset": 1<<64 - 1}, "", qcow2.ErrTruncated},
		"runs over the file end": {map[string]uint64{"backing_file_offset": 4*65536 - 4}, "", qcow2.ErrTruncated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := qcow2test.Image{BackingFile: "base\x00.qcow2", Patches: test.patches}.Build()
			got, ok, err := open(t, b).BackingFile()
			if got != test.name || !errors.Is(err, test.kind) || ok != (test.kind == nil) {
				t.Errorf("BackingFile = %q, %v, %v; want %q, %v", got, ok, err, test.name, test.kind)
			}
		})
	}
}

func TestFullBackingName(t *testing.T) {
	for _, test := range []struct{ image, backing, want string }{
		{"disk.qcow2", "base.qcow2", "base.qcow2"},
		{"images/disk.qcow2", "base.qcow2", "images/base.qcow2"},
		{"/images/disk.qcow2", "../base.qcow2", "/images/../base.qcow2"},
		{"images/disk.qcow2", "/base.qcow2", "/base.qcow2"},
		{"images/disk.qcow2", "nbd://host/x", "nbd://host/x"},
		{"images/disk.qcow2", `json:{"driver":"qcow2"}`, `json:{"driver":"qcow2"}`},
		{"images/disk.qcow2", "a/b:c", "images/a/b:c"},
		{"images/disk.qcow2", "", ""},
	} {
		if got := qcow2.FullBackingName(test.image, test.backing); got != test.want {
			t.Errorf("FullBackingName(%q, %q) = %q, want %q", test.image, test.backing, got, test.want)
		}
	}
}
