package cmd

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestQEMUChainCases holds chains made for one question each: their map against
// QEMU's, and what the layers show, hide and have past the end.
func TestQEMUChainCases(t *testing.T) {
	type share struct{ visible, zeros, hidden, beyond uint64 }
	const k, m = 1 << 10, 1 << 20
	raw := func(size int64) func(*testing.T, qemuFolder) {
		return func(t *testing.T, dir qemuFolder) {
			t.Helper()
			dir.run(t, "sh", "-c", fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x > base", size))
		}
	}
	tests := []struct {
		what string
		// base makes a raw base; nil: base is made by the first of the layers.
		base   func(*testing.T, qemuFolder)
		layers [][]string // from the base up: options and size, then commands
		want   []share    // from the image down
	}{
		{"sizes that differ", nil, [][]string{
			{"cluster_size=64k 1M", "write -q 0 256k", "write -q 512k 64k"},
			{"cluster_size=64k 2M", "write -q -z 64k 64k", "write -q 128k 64k"},
			{"cluster_size=64k 1536k", "write -q 0 64k", "write -q 704k 64k"},
		}, []share{{128 * k, 0, 0, 0}, {64 * k, 64 * k, 0, 512 * k}, {128 * k, 0, 192 * k, 0}}},
		{"extended L2 over data", nil, [][]string{
			{"cluster_size=64k 1M", "write -q 0 64k"},
			{"cluster_size=64k,extended_l2=on 1M", "write -q 0 2k", "write -q -z 4k 2k"},
		}, []share{{2 * k, 2 * k, 0, 0}, {60 * k, 0, 4 * k, 0}}},
		{"zeros of both kinds over data", nil, [][]string{
			{"cluster_size=64k 1M", "write -q 0 256k"},
			{"cluster_size=64k 1M", "write -q 0 64k", "write -q -z 0 64k", "write -q -z -u 64k 64k"},
		}, []share{{0, 128 * k, 0, 0}, {128 * k, 0, 128 * k, 0}}},
		{"longer than the base", nil, [][]string{{"cluster_size=64k 1M", "write -q 0 1M"}, {"cluster_size=64k 3M"}}, []share{{}, {m, 0, 0, 0}}},
		{"shorter than the base", nil, [][]string{{"cluster_size=64k 3M", "write -q 0 3M"}, {"cluster_size=64k 1M"}}, []share{{}, {m, 0, 0, 2 * m}}},
		{"large clusters over small", nil, [][]string{
			{"cluster_size=64k 8M", "write -q 1M 64k", "write -q 5M 64k"},
			{"cluster_size=2M 8M", "write -q 0 2M"},
		}, []share{{2 * m, 0, 0, 0}, {64 * k, 0, 64 * k, 0}}},
		{"small clusters over large", nil, [][]string{
			{"cluster_size=64k 1M", "write -q 0 128k"},
			{"cluster_size=512 1M", "write -q 1k 512", "write -q 64512 1k"},
		}, []share{{1536, 0, 0, 0}, {128*k - 1536, 0, 1536, 0}}},
		{"raw base of 100000 bytes", raw(100000), [][]string{{"cluster_size=64k 1M"}}, []share{{}, {100000, 352, 0, 0}}},
		{"sparse raw base", func(t *testing.T, dir qemuFolder) {
			t.Helper()
			if err := os.WriteFile(dir.file("base"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(dir.file("base"), m); err != nil {
				t.Fatal(err)
			}
			dir.run(t, "qemu-io", "-f", "raw", "-c", "write -q 256k 64k", "base")
		}, [][]string{{"cluster_size=64k 1M", "write -q 0 64k"}}, []share{{64 * k, 0, 0, 0}, {64 * k, m - 128*k, 64 * k, 0}}},
		{"compressed base", nil, [][]string{{"cluster_size=64k 1M", "write -q -c 0 64k", "write -q -c 64k 64k"}, {"cluster_size=4k 1M", "write -q 4k 4k"}}, []share{{4 * k, 0, 0, 0}, {124 * k, 0, 4 * k, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			dir := newQEMUFolder(t)
			below, format := "", "qcow2"
			if tt.base != nil {
				tt.base(t, dir)
				below, format = "base", "raw"
			}
			for i, l := range tt.layers {
				var options, size string
				if _, err := fmt.Sscan(l[0], &options, &size); err != nil {
					t.Fatal(err)
				}
				args := []string{"create", "-q", "-f", "qcow2", "-o", options}
				if below != "" {
					args = append(args, "-b", below, "-F", format)
				}
				below, format = fmt.Sprintf("layer%d", i), "qcow2"
				dir.run(t, "qemu-img", append(args, below, size)...)
				if len(l) > 1 {
					dir.qemuIO(t, below, l[1:]...)
				}
			}
			dir.compareChain(t, below)
			var doc chainDocument
			dir.ours(t, &doc, "chain", "--follow", dir.file(below))
			var got []share
			for _, l := range doc.Chain {
				got = append(got, share{l.Visible, l.VisibleZero, *l.Hidden, l.Beyond})
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(share{})); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}
