package qcow2_test

import (
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A changingReader is a file that something writes to, and that is cut now and
// then: no two reads need to be consistent.
type changingReader struct {
	*rand.Rand
	b *qcow2test.Built
}

func (r *changingReader) ReadAt(p []byte, off int64) (int, error) {
	for range r.IntN(3) {
		edit(r.b, []byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.IntN(7)), byte(r.Uint32())})
	}
	if r.IntN(500) == 0 {
		return 0, io.EOF
	}
	return r.b.Reader().ReadAt(p, off)
}

// TestChangingFile: whatever is written to a file while it is read, every walk
// ends, with errors that have a type, and without a panic.
func TestChangingFile(t *testing.T) {
	bases := qcow2test.MalformedBase()
	for seed := range uint64(200) {
		for _, name := range slices.Sorted(maps.Keys(bases)) {
			b := bases[name].Build()
			img, err := qcow2.Open(&changingReader{rand.New(rand.NewPCG(seed, 4)), b}, int64(len(b.Bytes)), qcow2.WithoutReadAhead())
			if err != nil || img.Supported() != nil {
				continue
			}
			for _, err := range img.Guest(t.Context(), qcow2.GuestOptions{VMState: true}) {
				asTyped(t, err)
			}
			for _, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
				asTyped(t, err)
			}
			for _, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
				asTyped(t, err)
			}
			_, err = img.Check(t.Context(), qcow2.CheckOptions{Finding: func(*qcow2.Finding) bool { return true }})
			asTyped(t, err)
			_, err = img.Usage(t.Context(), qcow2.UsageOptions{Damage: func(err error) { asTyped(t, err) }})
			asTyped(t, err)
		}
	}
}

// asTyped fails the test if there is an error that is not an [*qcow2.Error].
func asTyped(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		asError(t, err)
	}
}
