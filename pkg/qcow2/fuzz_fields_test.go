package qcow2_test

import (
	"encoding/binary"
	"io"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// An edit changes one field of an image: 4 bytes of what a fuzzer makes.
const editBytes = 4

// edit applies an edit: which field, how, and how much.
func edit(b *qcow2test.Built, p []byte) {
	f := b.Fields[int(binary.BigEndian.Uint16(p))%len(b.Fields)]
	old, amount := b.Get(f.Name), uint64(p[3])
	switch p[2] % 8 {
	case 0:
		b.Set(f.Name, amount)
	case 1:
		b.Set(f.Name, old^1<<(amount%64))
	case 2:
		b.Set(f.Name, old+amount)
	case 3:
		b.Set(f.Name, old-amount)
	case 4: // another cluster of the file, flags kept
		b.Set(f.Name, old&^(1<<56-1<<9)|amount%16<<12)
	case 5: // the value of another field
		b.Set(f.Name, b.Get(b.Fields[int(amount)%len(b.Fields)].Name))
	case 6: // with so many bits set
		b.Set(f.Name, 1<<(amount%65)-1)
	case 7:
		b.Truncate(len(b.Bytes) - min(int(amount)<<6, len(b.Bytes)-1024))
	}
}

// A budgetReader counts what is read, and fails the test beyond a budget.
type budgetReader struct {
	io.ReaderAt
	t    *testing.T
	left int
}

func (r *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if r.left -= len(p); r.left < 0 {
		r.t.Fatal("more is read than the budget of reads")
	}
	return r.ReaderAt.ReadAt(p, off)
}

// FuzzFields changes fields of healthy images, to get past the checks that
// arbitrary bytes do not pass. Whatever the fields hold, every walk ends within a
// budget of reads, and the walks agree.
func FuzzFields(f *testing.F) {
	bases := qcow2test.MalformedBase()
	names := slices.Sorted(maps.Keys(bases))
	for i := range names {
		f.Add(uint8(i), []byte{0, 20, 1, 5, 0, 40, 4, 2})
		f.Add(uint8(i), []byte{0, 11, 4, 6, 0, 7, 5, 9, 0, 30, 7, 100})
	}
	f.Fuzz(func(t *testing.T, base uint8, edits []byte) {
		b := bases[names[int(base)%len(names)]].Build()
		fields := slices.Clone(b.Fields)
		for ; len(edits) >= editBytes; edits = edits[editBytes:] {
			// A field can lie after what was cut off.
			b.Fields = slices.DeleteFunc(slices.Clone(fields), func(f qcow2test.Field) bool { return f.Offset+8 > uint64(len(b.Bytes)) })
			edit(b, edits)
		}
		// Each table is read a few times at most. Of guest addresses each L1
		// entry can need its L2 table anew: those of one cluster here.
		budget := 64 * len(b.Bytes) << bits.Len(uint(b.Bytes[23]))
		r := &budgetReader{b.Reader(), t, budget}
		img, err := qcow2.Open(r, int64(len(b.Bytes)), qcow2.WithoutReadAhead())
		if err != nil {
			checkError(t, b.Bytes, err)
			return
		}
		fuzzImage(t, b.Bytes, img)
	})
}
