package audit_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A ruleCase is a file, and the rules that it fails. What is not about its rule
// alone says so in a comment.
type ruleCase struct {
	name    string
	bytes   []byte
	options audit.Options
	want    string // as outcomes, joined by spaces
}

// with returns the disk of the tests with a change.
func with(change func(*qcow2test.Image)) []byte {
	im := disk
	change(&im)
	return im.Build().Bytes
}

// patched returns the disk of the tests with fields set.
func patched(patches map[string]uint64) []byte {
	return with(func(im *qcow2test.Image) { im.Patches = patches })
}

// over returns bytes with a text at an offset.
func over(p []byte, at int, text string) []byte {
	p = slices.Clone(p)
	if need := at + len(text); need > len(p) {
		p = append(p, make([]byte, need-len(p))...)
	}
	copy(p[at:], text)
	return p
}

// backed returns an image with a backing file, whose format is qcow2.
func backed(name string) []byte {
	return with(func(im *qcow2test.Image) { im.BackingFile, im.Extensions = name, backingFormat("qcow2") })
}

func backingFormat(format string) []qcow2test.Extension {
	return []qcow2test.Extension{{Type: uint32(qcow2.ExtBackingFormat), Data: []byte(format)}}
}

// encrypted returns an image with a LUKS header that is changed.
func encrypted(change func(luks []byte)) []byte {
	return with(func(im *qcow2test.Image) {
		luks := slices.Concat(qcow2test.LUKSHeader("aes", "xts-plain64", 64), make([]byte, 4096*512-592))
		change(luks)
		im.LUKS = luks
	})
}

// The fields of a LUKS header that tests change.
const (
	luksHash       = 72
	luksSlot       = 208 + 48 // the one in use
	luksIterations = luksSlot + 4
	luksStripes    = luksSlot + 44
)

func put32(at int, n uint32) func([]byte) {
	return func(p []byte) { binary.BigEndian.PutUint32(p[at:], n) }
}

// named returns an image with a snapshot.
func named(s qcow2test.Snapshot) []byte {
	return with(func(im *qcow2test.Image) {
		s.ID, s.Name = "1", "first"
		im.Snapshots = []qcow2test.Snapshot{s}
	})
}

// limited returns the default policy with limits.
func limited(virtualSize, ratio uint64) audit.Options {
	p := audit.Default()
	p.MaxVirtualSize, p.MaxRatio = virtualSize, ratio
	return audit.Options{Policy: p}
}

var content = audit.Options{Content: true}

// headerCases are about the header, and what the file is.
func headerCases() []ruleCase {
	b := disk.Build()
	mbr := "\x80\x00\x02\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00" + strings.Repeat("\x00", 48) + "\x55\xaa"
	return []ruleCase{
		{name: "not-qcow2: vmdk", bytes: over(make([]byte, 1024), 0, "KDMV"), want: "not-qcow2 " + allUnchecked("not-qcow2")},
		{name: "not-qcow2: nothing", bytes: nil, want: "not-qcow2 " + allUnchecked("not-qcow2")},
		{name: "not-qcow2: gzip", bytes: over(make([]byte, 1024), 0, "\x1f\x8b\x08"), want: "not-qcow2 " + allUnchecked("not-qcow2")},
		{name: "version 0", bytes: patched(map[string]uint64{"version": 0}), want: "version " + allUnchecked("not-qcow2", "version")},
		{name: "version 1", bytes: patched(map[string]uint64{"version": 1}), want: "not-qcow2 version " + allUnchecked("not-qcow2", "version")},
		{name: "version 4", bytes: patched(map[string]uint64{"version": 4}), want: "version " + allUnchecked("not-qcow2", "version")},
		{name: "largest version", bytes: patched(map[string]uint64{"version": 1<<32 - 1}), want: "version " + allUnchecked("not-qcow2", "version")},

		{name: "format-ambiguous: VDI", bytes: patched(map[string]uint64{"snapshots_offset": 0x7f10dabe << 32}), want: "format-ambiguous"},
		{name: "format-ambiguous: partitions", bytes: over(b.Bytes, 446, mbr), want: "format-ambiguous"},
		{name: "a boot sector without partitions", bytes: over(b.Bytes, 510, "\x55\xaa")},
		{name: "format-ambiguous: GPT", bytes: over(b.Bytes, 512, "EFI PART"), want: "format-ambiguous"},
		{name: "format-ambiguous: ISO", bytes: over(b.Bytes, 32769, "CD001"), want: "format-ambiguous"},
		{name: "format-ambiguous: ISO, second descriptor", bytes: over(b.Bytes, 34817, "CD001"), want: "format-ambiguous"},
		{name: "format-ambiguous: tar", bytes: over(b.Bytes, 257, "ustar"), want: "format-ambiguous"},
		// What is appended is a tail as well.
		{name: "format-tail: VHD", bytes: over(b.Bytes, len(b.Bytes), "conectix"+strings.Repeat("\x00", 504)), want: "format-tail hidden-tail"},
		{name: "format-tail: DMG", bytes: over(b.Bytes, len(b.Bytes), "koly"+strings.Repeat("\x00", 508)), want: "format-tail hidden-tail"},
		{name: "format-tail: zip", bytes: over(b.Bytes, len(b.Bytes), "PK\x05\x06"+strings.Repeat("\x00", 18)), want: "format-tail hidden-tail"},
		{name: "format-tail: VHD behind a table", bytes: over(cutAfterL1(), len(cutAfterL1()), strings.Repeat("\x00", 100)+"conectix"+strings.Repeat("\x00", 504)), want: "format-tail"},
		{name: "a guest's VHD at the end of the file", bytes: guestTail()},

		{name: "unknown-incompatible: bit 5", bytes: patched(map[string]uint64{"incompatible_features": 1 << 5}), want: "unknown-incompatible " + unsupported()},
		{name: "unknown-incompatible: bit 40", bytes: patched(map[string]uint64{"incompatible_features": 1 << 40}), want: "unknown-incompatible " + unsupported()},
		{name: "unknown-incompatible: bit 63", bytes: patched(map[string]uint64{"incompatible_features": 1 << 63}), want: "unknown-incompatible " + unsupported()},
		{name: "unknown-compatible", bytes: patched(map[string]uint64{"compatible_features": 1 << 63}), want: "unknown-compatible"},
		{name: "lazy refcounts", bytes: patched(map[string]uint64{"compatible_features": 1})},
		{name: "unknown-autoclear", bytes: patched(map[string]uint64{"autoclear_features": 4}), want: "unknown-autoclear"},
		{name: "unknown-extension", bytes: with(func(im *qcow2test.Image) {
			im.Extensions = []qcow2test.Extension{{Type: 0x12345678, Data: []byte("x")}}
		}), want: "unknown-extension"},
		// The check finds the same.
		{name: "header-invalid", bytes: patched(map[string]uint64{"l1_size": 0}), want: "header-invalid consistency leaks nested-format?"},
		{name: "compression-unknown", bytes: patched(map[string]uint64{"compression_type": 2}), want: "header-invalid compression-unknown consistency"},
		{name: "zstd", bytes: with(func(im *qcow2test.Image) { im.CompressionType, im.IncompatibleFeatures = 1, 8 })},
		{name: "corrupt-bit", bytes: patched(map[string]uint64{"incompatible_features": 2}), want: "corrupt-bit"},
		{name: "dirty-bit", bytes: patched(map[string]uint64{"incompatible_features": 1}), want: "dirty-bit"},
		{name: "extended L2", bytes: with(func(im *qcow2test.Image) { im.IncompatibleFeatures = 16 })},
	}
}

// cutAfterL1 returns an image of an empty disk whose file ends with its L1 table.
func cutAfterL1() []byte {
	b := qcow2test.Image{Size: 1 << 20}.Build()
	table := b.Get("refcount_table_offset")
	l1 := b.Get("l1_table_offset")
	if l1 > table { // the refcounts come last
		panic("the L1 table comes last")
	}
	p := slices.Clone(b.Bytes) // swap the L1 table, cluster 1, with the last cluster, a refcount block
	last := len(p) - 1<<16
	copy(p[l1:], b.Bytes[last:])
	clear(p[last:])
	binary.BigEndian.PutUint64(p[40:], uint64(last))
	binary.BigEndian.PutUint64(p[table:], l1)
	return p[:last+8]
}

// guestTail returns an image whose last cluster holds guest data, which end with the
// footer of a VHD.
func guestTail() []byte {
	b := disk.Build()
	last := len(b.Bytes) - 1<<16
	host := b.Get("l2[0][0]") &^ (3 << 62)
	table := b.Get("refcount_table_offset")
	p := slices.Clone(b.Bytes) // swap guest cluster 0 with the refcount block
	copy(p[host:host+1<<16], b.Bytes[last:])
	clear(p[last:])
	binary.BigEndian.PutUint64(p[b.Field("l2[0][0]").Offset:], uint64(last)|1<<63)
	binary.BigEndian.PutUint64(p[table:], host)
	return over(p, len(p)-512, "conectix")
}

// nameCases are about other files.
func nameCases() []ruleCase {
	unused := func(name string) []byte {
		return with(func(im *qcow2test.Image) {
			im.Extensions = []qcow2test.Extension{{Type: uint32(qcow2.ExtDataFile), Data: []byte(name)}}
		})
	}
	return []ruleCase{
		{name: "backing-file", bytes: backed("base.qcow2"), want: "backing-file"},
		{name: "backing-file: a size without an offset", bytes: patched(map[string]uint64{"backing_file_size": 4}), want: "backing-file"},
		{name: "backing-file: an offset without a size", bytes: patched(map[string]uint64{"backing_file_offset": 0x200}), want: "backing-file"},
		// What lies there is no name.
		{name: "backing-name-outside: second cluster", bytes: patchedName(backed("base"), 0x10000), want: "backing-file backing-name-outside name-nul name-not-utf8 header-invalid consistency"},
		{name: "backing-name-outside: in the header", bytes: patchedName(backed("base"), 80), want: "backing-file backing-name-outside backing-format-missing name-nul"},
		{name: "backing-name-outside: in an extension", bytes: patchedName(backed("base"), 122),
			want: "backing-file backing-name-outside backing-format-missing? name-nul extension-claim consistency unknown-extension? data-file-unused? name-protocol? name-json? name-absolute? name-parent? name-device? name-control? name-not-utf8?"},
		{name: "backing-format-missing", bytes: with(func(im *qcow2test.Image) { im.BackingFile = "base.qcow2" }), want: "backing-file backing-format-missing"},
		{name: "backing-format-raw", bytes: with(func(im *qcow2test.Image) { im.BackingFile, im.Extensions = "base", backingFormat("raw") }), want: "backing-file backing-format-raw"},
		{name: "backing-format-unknown", bytes: with(func(im *qcow2test.Image) { im.BackingFile, im.Extensions = "base", backingFormat("nbd") }), want: "backing-file backing-format-unknown"},
		{name: "data-file-unused", bytes: unused("disk.raw"), want: "data-file-unused"},
		{name: "data-file", bytes: with(func(im *qcow2test.Image) {
			im.IncompatibleFeatures, im.Extensions = 4, []qcow2test.Extension{{Type: uint32(qcow2.ExtDataFile), Data: []byte("disk.raw")}}
		}), want: "data-file nested-format?"},
		{name: "data-file without a name", bytes: with(func(im *qcow2test.Image) { im.IncompatibleFeatures = 4 }),
			want: "data-file data-file-unused? name-protocol? name-json? name-absolute? name-parent? name-device? name-control? name-nul? name-not-utf8? backing-format-missing? backing-format-raw? backing-format-unknown? consistency nested-format?"},
		{name: "name-protocol", bytes: backed("nbd://host/disk"), want: "backing-file name-protocol"},
		{name: "name-protocol of a data file", bytes: unused("nbd://host/disk"), want: "data-file-unused name-protocol"},
		{name: "name-json", bytes: backed(`json:{"driver":"file"}`), want: "backing-file name-json"},
		{name: "name-absolute", bytes: backed("/srv/base.qcow2"), want: "backing-file name-absolute"},
		{name: "name-parent", bytes: backed("../base.qcow2"), want: "backing-file name-parent"},
		{name: "name-device", bytes: backed("/dev/sda"), want: "backing-file name-absolute name-device"},
		{name: "name-device of a protocol", bytes: backed("host_device:/dev/sda"), want: "backing-file name-protocol name-device"},
		{name: "name-device, nearly", bytes: backed("/device/sda"), want: "backing-file name-absolute"},
		{name: "name-control", bytes: backed("a\x1b[2Jb"), want: "backing-file name-control"},
		{name: "name-nul", bytes: backed("a\x00b"), want: "backing-file name-nul"},
		{name: "name-not-utf8", bytes: backed("a\xff"), want: "backing-file name-not-utf8"},
	}
}

// patchedName moves the name of the backing file.
func patchedName(p []byte, offset uint64) []byte {
	p = slices.Clone(p)
	binary.BigEndian.PutUint64(p[8:], offset)
	return p
}

// encryptionCases are about encryption. What is encrypted with LUKS fails "encrypted",
// and what it holds cannot be looked at.
func encryptionCases() []ruleCase {
	none := func([]byte) {}
	return []ruleCase{
		{name: "encrypted-aes", bytes: with(func(im *qcow2test.Image) { im.CryptMethod = 1 }), want: "encrypted-aes nested-format?"},
		{name: "encrypted", bytes: encrypted(none), want: "encrypted nested-format?"},
		{name: "luks-header: magic", bytes: encrypted(func(p []byte) { p[0] = 'X' }),
			want: "encrypted luks-header luks-costly? luks-slow? luks-weak? luks-sha1? consistency nested-format?"},
		{name: "luks-header: version 2", bytes: encrypted(func(p []byte) { p[7] = 2 }),
			want: "encrypted luks-header luks-costly? luks-slow? luks-weak? luks-sha1? consistency nested-format?"},
		{name: "luks-header: key material outside", bytes: encrypted(put32(luksSlot+40, 4096)), want: "encrypted luks-header consistency nested-format?"},
		{name: "luks-costly: most allowed", bytes: encrypted(put32(luksIterations, 100_000_000)), want: "encrypted luks-slow nested-format?"},
		{name: "luks-costly", bytes: encrypted(put32(luksIterations, 100_000_001)), want: "encrypted luks-costly luks-slow nested-format?"},
		{name: "luks-slow: most allowed", bytes: encrypted(put32(luksIterations, 20_000_000)), want: "encrypted nested-format?"},
		{name: "luks-slow: the digest", bytes: encrypted(put32(164, 20_000_001)), want: "encrypted luks-slow nested-format?"},
		{name: "luks-weak: iterations", bytes: encrypted(put32(luksIterations, 999)), want: "encrypted luks-weak nested-format?"},
		{name: "luks-weak: fewest iterations", bytes: encrypted(put32(luksIterations, 1000)), want: "encrypted nested-format?"},
		{name: "luks-weak: stripes", bytes: encrypted(put32(luksStripes, 3999)), want: "encrypted luks-weak nested-format?"},
		{name: "luks-weak: cipher", bytes: encrypted(func(p []byte) { copy(p[8:], "cast5\x00") }), want: "encrypted luks-weak nested-format?"},
		{name: "luks-weak: mode", bytes: encrypted(func(p []byte) { copy(p[40:], "cbc-essiv:sha256\x00") }), want: "encrypted luks-weak nested-format?"},
		{name: "luks-sha1", bytes: encrypted(func(p []byte) { copy(p[luksHash:], "sha1\x00\x00") }), want: "encrypted luks-sha1 nested-format?"},
	}
}

// resourceCases are about claims and bombs.
func resourceCases() []ruleCase {
	return []ruleCase{
		{name: "virtual-size", bytes: disk.Build().Bytes, options: limited(1<<20-1, 100), want: "virtual-size"},
		{name: "virtual-size: most allowed", bytes: disk.Build().Bytes, options: limited(1<<20, 100)},
		// Claims are above a limit of the header, too, and what the tables refer to leaks.
		{name: "l1-claim: QEMU's limit", bytes: patched(map[string]uint64{"l1_size": 1 << 30}), want: "header-invalid l1-claim vm-state? nested-format? consistency leaks"},
		{name: "l1-claim: the file", bytes: patched(map[string]uint64{"l1_size": 1 << 20}), want: "l1-claim consistency overlap nested-format?"},
		{name: "refcount-claim", bytes: patched(map[string]uint64{"refcount_table_clusters": 100}), want: "refcount-claim consistency overlap"},
		{name: "snapshot-claim", bytes: patched(map[string]uint64{"nb_snapshots": 1 << 20}),
			want: "header-invalid l1-claim? snapshot-claim consistency snapshots vm-state?"},
		{name: "bitmap-claim", bytes: func() []byte {
			im := disk
			im.Bitmaps = []qcow2test.Bitmap{{Name: "a"}}
			return im.Build().Set("bitmap[0].table_size", 1<<30).Bytes
		}(), want: "bitmap-claim consistency leaks bitmaps"},
		{name: "extension-claim", bytes: func() []byte {
			im := disk
			im.Extensions = []qcow2test.Extension{{Type: 0x12345678}}
			return im.Build().Set("extension[0].length", 1<<20).Bytes
		}(), want: "unknown-extension? extension-claim consistency data-file-unused? " + nameUnchecked()},
		{name: "ratio", bytes: compressed(200, 1), options: limited(0, 33), want: "ratio"},
		{name: "ratio: most allowed", bytes: compressed(200, 1), options: limited(0, 34)},
		{name: "compressed-shared", bytes: compressed(64, 0), want: "compressed-shared"},
		// The refcount of the cluster says that two refer to it.
		{name: "cluster-shared", bytes: shared(), want: "cluster-shared"},
		{name: "sparse-claim", bytes: nil, want: "not-qcow2 " + allUnchecked("not-qcow2")}, // TestSparseClaim has an image
	}
}

// compressed returns an image of n compressed clusters, whose data begin so many
// bytes apart: those of the first cluster can be decompressed.
func compressed(n, apart uint64) []byte {
	im := qcow2test.Image{Size: n << 16, RefcountBits: 64, Compressed: map[uint64]qcow2test.Compressed{}}
	for i := range n {
		im.Compressed[i] = qcow2test.Compressed{Offset: i * apart, Sectors: 1}
	}
	return over(im.Build().Bytes, 0x10000, deflatedZeros)
}

// deflatedZeros is a block of raw deflate with 65,536 zeros.
var deflatedZeros = deflate(make([]byte, 1<<16))

// shared returns an image in which two entries point to one data cluster, with the
// refcount to match.
func shared() []byte {
	b := disk.Build()
	first, second := b.Get("l2[0][0]")&^(1<<63), b.Get("l2[0][1]")&^(1<<63)
	b.Set("l2[0][0]", first).Set("l2[0][1]", first)
	b.Set("refcount["+decimal(first>>16)+"]", 2)
	b.Set("refcount["+decimal(second>>16)+"]", 0)
	return b.Bytes
}

// leftoverCases are about what is carried along.
func leftoverCases() []ruleCase {
	longHeader := func(field string) []byte {
		b := disk.Build()
		clear(b.Bytes[104:0x10000])
		b.Set("header_length", 0x1000)
		return over(b.Bytes, 0x800, field)
	}

	b := disk.Build()
	host := int(b.Get("l2[0][0]") &^ (1 << 63))
	in := func(at int, text string) []byte { return over(b.Bytes, host+at, text) }
	free := func() []byte {
		b := disk.Build()
		second := b.Get("l2[0][1]") &^ (1 << 63)
		b.Set("l2[0][1]", 0).Set("refcount["+decimal(second>>16)+"]", 0)
		b.Bytes[second+77] = 1
		return b.Bytes
	}
	tail := slices.Concat(b.Bytes, make([]byte, 10<<20))
	old := audit.Options{Policy: audit.Default().With("timestamps", audit.LevelWarn), Now: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	return []ruleCase{
		{name: "snapshots", bytes: named(qcow2test.Snapshot{Seconds: 1 << 30}), want: "snapshots"},
		{name: "vm-state: a size", bytes: named(qcow2test.Snapshot{VMStateSize: 1 << 16}), want: "snapshots vm-state"},
		{name: "vm-state: mapped", bytes: with(func(im *qcow2test.Image) {
			im.Clusters = map[uint64]qcow2test.Kind{0: qcow2test.Data, 8192: qcow2test.Data}
		}), want: "vm-state"},
		{name: "vm-state: before it would begin", bytes: with(func(im *qcow2test.Image) { im.Clusters = map[uint64]qcow2test.Kind{16: qcow2test.Data} }), want: "vm-state"},
		{name: "the last cluster of the disk", bytes: with(func(im *qcow2test.Image) { im.Clusters = map[uint64]qcow2test.Kind{15: qcow2test.Data} })},
		{name: "bitmaps", bytes: with(func(im *qcow2test.Image) { im.Bitmaps = []qcow2test.Bitmap{{Name: "a"}} }), want: "bitmaps"},
		{name: "nested-format: qcow2", bytes: in(0, "QFI\xfb\x00\x00\x00\x03"), want: "nested-format"},
		{name: "nested-format: VDI", bytes: in(64, "\x7f\x10\xda\xbe"), want: "nested-format"},
		{name: "nested-format: ISO", bytes: in(32769, "CD001"), want: "nested-format"},
		{name: "nested-format: a vmdk descriptor", bytes: in(0, "version=1\n"), want: "nested-format"},
		{name: "a boot sector in the disk", bytes: in(510, "\x55\xaa")},
		{name: "nested-format: compressed", bytes: over(compressed(1, 0), 0x10000, deflate(over(make([]byte, 1<<16), 0, "QFI\xfb\x00\x00\x00\x03"))), want: "nested-format"},
		{name: "nested-format: cannot be decompressed", bytes: over(compressed(1, 0), 0x10000, "\xff\xff\xff"), want: "nested-format?"},
		{name: "hidden-tail", bytes: tail, want: "hidden-tail"},
		{name: "hidden-free", bytes: free(), options: content, want: "hidden-free"},
		{name: "hidden-free without content", bytes: free()},
		{name: "hidden-slack", bytes: over(b.Bytes, 0x8000, "x"), options: content, want: "hidden-slack"},
		{name: "hidden-slack: behind the L1 table", bytes: over(b.Bytes, int(b.Get("l1_table_offset"))+8, "x"), options: content, want: "hidden-slack"},
		{name: "hidden-slack: padding of the header", bytes: patched(map[string]uint64{"padding": 1}), options: content, want: "hidden-slack"},
		{name: "hidden-slack: header fields that are not known", bytes: longHeader("x"), options: content, want: "hidden-slack"},
		{name: "the same, zeros", bytes: longHeader("\x00"), options: content},
		{name: "hidden-slack without content", bytes: over(b.Bytes, 0x8000, "x")},
		{name: "timestamps: 1970", bytes: named(qcow2test.Snapshot{}), options: old, want: "snapshots timestamps"},
		{name: "timestamps: in the future", bytes: named(qcow2test.Snapshot{Seconds: 1<<32 - 1}), options: old, want: "snapshots timestamps"},
		{name: "timestamps: 2004", bytes: named(qcow2test.Snapshot{Seconds: 1 << 30}), options: old, want: "snapshots"},
		{name: "timestamps without a clock", bytes: named(qcow2test.Snapshot{}), options: audit.Options{Policy: old.Policy}, want: "snapshots timestamps?"},
		{name: "consistency", bytes: patched(map[string]uint64{"l2[0][5]": 1 << 40}), want: "consistency"},
		{name: "overlap", bytes: patched(map[string]uint64{"l2[0][5]": 1<<63 | 0x10000}), want: "consistency overlap"},
		{name: "overlap: compressed data in the header", bytes: patched(map[string]uint64{"l2[0][5]": 1<<62 | 0x200}), want: "consistency overlap"},
		{name: "overlap: an L1 entry in the header", bytes: patched(map[string]uint64{"l1[0]": 1<<63 | 0x200}), want: "consistency overlap leaks vm-state? nested-format?"},
		{name: "overlap: an L2 table in the refcount table", bytes: func() []byte {
			b := disk.Build()
			return b.Set("l1[0]", 1<<63|b.Get("refcount_table_offset")).Bytes
		}(), want: "consistency overlap leaks"},
		{name: "leaks", bytes: patched(map[string]uint64{"l2[0][1]": 0}), want: "leaks"},
	}
}

func TestRules(t *testing.T) {
	seen := map[audit.ID]bool{}
	for _, c := range slices.Concat(headerCases(), nameCases(), encryptionCases(), resourceCases(), leftoverCases()) {
		t.Run(c.name, func(t *testing.T) {
			r := auditBytes(t, c.bytes, c.options)
			got, want := outcomes(r), strings.Fields(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, r.Findings)
			}
			for _, f := range r.Findings {
				seen[f.Rule] = true
			}
		})
	}
	for _, rule := range audit.Rules() {
		if !seen[rule.ID] && !slices.Contains([]audit.ID{"not-raw", "open-for-writing", "sparse-claim"}, rule.ID) { // have tests of their own
			t.Errorf("no case fails %s", rule.ID)
		}
	}
}

// nameUnchecked is the rules about names that cannot be checked when the extensions
// cannot be read.
func nameUnchecked() string {
	return "name-protocol? name-json? name-absolute? name-parent? name-device? name-control? name-nul? name-not-utf8? backing-format-missing? backing-format-raw? backing-format-unknown?"
}

// unsupported is the rules that cannot be checked when features are not known.
func unsupported() string {
	return nameUnchecked() + " data-file-unused? ratio? compressed-shared? cluster-shared? sparse-claim? consistency? overlap? leaks? vm-state? nested-format? hidden-tail?"
}
