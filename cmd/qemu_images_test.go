package cmd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestQEMUCreate(t *testing.T) {
	type image struct{ options, size string }
	images := []image{
		{"", "0"}, {"", "513"}, {"", "1610613248"}, {"", "1T"}, {"compat=0.10", "1T"},
		{"cluster_size=2M", "1P"}, {"cluster_size=2M", "2E"}, {"cluster_size=512", "128G"},
		{"lazy_refcounts=on", "1M"}, {"lazy_refcounts=off", "1M"},
		{"preallocation=off", "1M"}, {"preallocation=metadata", "1G"},
		{"preallocation=falloc", "1M"}, {"preallocation=full", "1M"}, {"preallocation=metadata,compat=0.10", "1M"},
		{"compression_type=zlib", "1M"}, {"compression_type=zstd", "1M"},
		{"extended_l2=on,cluster_size=16k", "1M"}, {"extended_l2=on", "1M"}, {"extended_l2=on,cluster_size=2M", "1P"},
		{"extended_l2=on,preallocation=metadata", "1M"},
		{"extended_l2=on,lazy_refcounts=on,compression_type=zstd,refcount_bits=64,cluster_size=128k", "10G"},
		{"refcount_bits=1,cluster_size=512", "1G"},
	}
	for bits := 9; bits <= 21; bits++ {
		images = append(images,
			image{fmt.Sprintf("compat=0.10,cluster_size=%d", 1<<bits), "3M"},
			image{fmt.Sprintf("compat=1.1,cluster_size=%d", 1<<bits), "3M"})
	}
	for order := range 7 {
		images = append(images, image{fmt.Sprintf("refcount_bits=%d", 1<<order), "1M"})
	}
	for _, image := range images {
		t.Run(image.options+" "+image.size, func(t *testing.T) {
			t.Parallel()
			compareWithQEMU(t, newQEMUFolder(t).create(t, image.options, image.size))
		})
	}
}

// TestQEMUWritten compares images that hold data of all kinds, whose sizes on
// disk are not those of a new image.
func TestQEMUWritten(t *testing.T) {
	for _, options := range []string{"", "compat=0.10,cluster_size=512", "extended_l2=on", "compression_type=zstd,cluster_size=4k"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, options, "16M")
			dir.run(t, "qemu-io", "-f", "qcow2", "-c", "write -q 1M 100k", "-c", "write -q -c 2M 64k", "-c", "write -q -z 3M 64k", file)
			compareWithQEMU(t, file)
			dir.run(t, "qemu-img", "resize", "-q", "-f", "qcow2", file, "20M")
			compareWithQEMU(t, file)
		})
	}
}

// TestQEMUOddSize stores sizes that are not whole sectors, as QEMU never does.
func TestQEMUOddSize(t *testing.T) {
	for _, size := range []uint64{1, 511, 513, 1<<20 - 1, 1<<30 + 512 + 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			compareWithQEMU(t, newQEMUFolder(t).build(t, qcow2test.Image{Size: size, L1Size: 4}))
		})
	}
}

func TestQEMUFileNames(t *testing.T) {
	for _, name := range []string{"a b.qcow2", "disk \"of\" 'mine'", "\x1b[31mred\n", "dïsk €.qcow2", "not utf\xff8", "\\x1b", "100%"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.file(name)
			if err := os.Rename(dir.create(t, "", "1M"), file); err != nil {
				t.Fatal(err)
			}
			compareWithQEMU(t, file)
		})
	}
}

// TestQEMUBacking is about names relative to the working directory, so that
// images without a directory are among them.
func TestQEMUBacking(t *testing.T) {
	dir := newQEMUFolder(t)
	t.Chdir(string(dir))
	for _, sub := range []string{"sub/deep", "with:colon"} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	images := []string{"disk.qcow2", "./disk.qcow2", "sub/disk.qcow2", "./sub/../sub//deep/disk.qcow2", "./with:colon/disk.qcow2", dir.file("disk.qcow2")}
	for _, backing := range []string{
		"base.qcow2", "./base.qcow2", "../base.qcow2", "deep/er/base.qcow2", "/not/here/base.qcow2", "//base.qcow2",
		"a b.qcow2", "bäse \"€\".qcow2", "inv\xff\xfealid.qcow2", "\x1b[31m.qcow2", "back\\slash", "a'b", " ", ".", "..", "/",
		"file:base.qcow2", "file:///base.qcow2", "nbd://localhost:1/export", "https://host/path?key=a:b", "host_device:/dev/disk",
		"colon:in name", "sub/colon:in name", ":colon", "rbd:pool/image:conf=x",
		`json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}`, "json:", "json.qcow2",
		strings.Repeat("x", 1000), strings.Repeat("y/", 500) + "z",
	} {
		for _, format := range []string{"qcow2", "raw", ""} {
			image := qcow2test.Image{Size: 1 << 20, BackingFile: backing}
			if format != "" {
				image.Extensions = []qcow2test.Extension{{Type: 0xe2792aca, Data: []byte(format)}}
			}
			built := image.Build().Bytes
			for _, file := range images {
				t.Run(fmt.Sprintf("%s %.40q %s", file, backing, format), func(t *testing.T) {
					if err := os.WriteFile(file, built, 0o600); err != nil {
						t.Fatal(err)
					}
					compareWithQEMU(t, file)
					checkHex(t, runDocument(t, "header", file), "backing-filename", backing)
				})
				if format != "qcow2" {
					break // the image's own name matters no less with one format
				}
			}
		}
	}
}

// TestQEMUCreateBacking has the names and formats written by qemu-img.
func TestQEMUCreateBacking(t *testing.T) {
	for _, compat := range []string{"compat=0.10", "compat=1.1", "compat=1.1,cluster_size=4k", "compat=1.1,extended_l2=on"} {
		for _, format := range []string{"qcow2", "raw", "vmdk"} {
			t.Run(compat+" "+format, func(t *testing.T) {
				t.Parallel()
				dir := newQEMUFolder(t)
				file := dir.create(t, compat, "1M", "-u", "-b", "../base of "+format, "-F", format)
				compareWithQEMU(t, file)
				dir.run(t, "qemu-img", "rebase", "-f", "qcow2", "-u", "-b", "", file)
				compareWithQEMU(t, file)
			})
		}
	}
}

func TestQEMUDataFile(t *testing.T) {
	for _, test := range []struct{ name, options string }{
		{"data.raw", ""},
		{"data.raw", ",data_file_raw=on"},
		{"data.raw", ",data_file_raw=on,preallocation=metadata"},
		{"data.raw", ",extended_l2=on"},
		{"dätä \"€\" \x1b.raw", ",data_file_raw=on"},
		{"inv\xff\xfealid", ",cluster_size=512"},
	} {
		t.Run(fmt.Sprintf("%q%s", test.name, test.options), func(t *testing.T) {
			t.Parallel()
			file := newQEMUFolder(t).create(t, "data_file="+test.name+test.options, "1M")
			compareWithQEMU(t, file)
			checkHex(t, runDocument(t, "header", file), "data-file", test.name)
		})
	}
}

// oddNames are names that tools tend to get wrong. Of the bytes that are not
// UTF-8 each ill-formed sequence is one U+FFFD.
func oddNames() []string {
	return []string{
		"1", "a b", " ", "schön €", "𝄞", "\x1b[31mred\x1b[0m", "line\nline\ttab\r", "\x7f\x01", `"quoted" 'name' \`, "<&>\u2028",
		"bad\xff\xfe", "cut\xe2\x82", "cut\xf0\x9d\x84.", "\x80\x80", "long\xf8\x88\x80\x80\x80", "far\xf4\x90\x80\x80",
		"surrogate\xed\xa0\x80", "overlong\xc1\xbf", "overlong\xe0\x80\xaf", "\xfc\x84\x80\x80\x80\x80\xfe",
		strings.Repeat("n", 255), strings.Repeat("ü", 127),
	}
}

// TestQEMUSnapshots has the snapshots taken by qemu-img, some after a resize.
func TestQEMUSnapshots(t *testing.T) {
	for _, options := range []string{"cluster_size=512,compat=0.10", "cluster_size=512", "extended_l2=on", "refcount_bits=64"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, options, "1M")
			names := oddNames()
			for i, name := range names {
				if i == len(names)/2 && !strings.Contains(options, "compat=0.10") { // which QEMU cannot resize then
					dir.run(t, "qemu-img", "resize", "-q", "-f", "qcow2", file, "2M")
				}
				dir.run(t, "qemu-img", "snapshot", "-q", "-c", name, file)
			}
			compareWithQEMU(t, file)
			list := rows(runDocument(t, "snapshots", file)["snapshots"])
			for i, row := range list {
				checkHex(t, row, "name", names[i])
			}
			dir.run(t, "qemu-img", "snapshot", "-q", "-d", names[0], file)
			compareWithQEMU(t, file)
		})
	}
}

// TestQEMUSnapshotTable has what no qemu-img takes: VM state, guest clocks,
// instruction counts, dates beyond 2038 and entries with less or more in them.
func TestQEMUSnapshotTable(t *testing.T) {
	const max32, max63 = 1<<32 - 1, 1<<63 - 1
	snapshots := []qcow2test.Snapshot{
		{ID: "1", Name: "plain", Seconds: 1700000000, Nanoseconds: 123456789},
		{ID: "2", Name: "state", VMStateSize: 5 << 32, VMState32: 7, VMClock: 3_000_000_001, ICount: 42},
		{ID: "3", Name: "largest", Seconds: max32, Nanoseconds: max32, VMClock: 1<<64 - 1, VMStateSize: max63, VMState32: max32, ICount: max63},
		{ID: "4", Name: "2038", Seconds: 1 << 31, Nanoseconds: 999_999_999, VMClock: 999_999_999},
		{ID: "5", Name: "no icount", ICount: 1<<64 - 1, VMClock: 1_000_000_000},
		{ID: "6", Name: "resized", DiskSize: 3 << 20},
		{ID: "7", Name: "cut icount", ExtraSize: 23, VMStateSize: 9, ICount: 8},
		{ID: "8", Name: "no icount field", ExtraSize: 16, VMStateSize: 9},
		{ID: "9", Name: "unknown extra", ICount: 1, UnknownExtra: []byte("future field")},
		{ID: "10", Name: "much unknown extra", UnknownExtra: make([]byte, 1000)},
		{ID: "", Name: ""}, {ID: "same", Name: "same"}, {ID: "same", Name: "same"}, {ID: strings.Repeat("i", 127), Name: "id"},
	}
	for _, name := range oddNames() {
		snapshots = append(snapshots, qcow2test.Snapshot{ID: name[:min(len(name), 127)], Name: name})
	}
	v2 := append(snapshots,
		qcow2test.Snapshot{ID: "11", Name: "no extra", ExtraSize: -1, VMState32: max32},
		qcow2test.Snapshot{ID: "12", Name: "state only", ExtraSize: 8, VMStateSize: 1 << 40, VMState32: 1},
		qcow2test.Snapshot{ID: "13", Name: "cut state", ExtraSize: 7, VMState32: 3})
	for name, image := range map[string]qcow2test.Image{
		"version 3":        {Size: 1 << 20, Snapshots: snapshots},
		"version 2":        {Version: 2, Size: 1 << 20, Snapshots: v2},
		"several clusters": {ClusterBits: 9, Size: 1 << 20, Snapshots: snapshots},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := newQEMUFolder(t).build(t, image)
			compareWithQEMU(t, file)
			for i, row := range rows(runDocument(t, "snapshots", file)["snapshots"]) {
				checkHex(t, row, "id", image.Snapshots[i].ID)
				checkHex(t, row, "name", image.Snapshots[i].Name)
			}
		})
	}
}

// TestQEMUBitmaps has the bitmaps made by qemu-img.
func TestQEMUBitmaps(t *testing.T) {
	dir := newQEMUFolder(t)
	file := dir.create(t, "cluster_size=4k", "8M")
	for i, name := range oddNames() {
		if utf8.ValidString(name) { // else QEMU takes no such name
			dir.run(t, "qemu-img", "bitmap", "--add", "-g", fmt.Sprint(512<<(i%17)), "-f", "qcow2", file, name)
		}
	}
	compareWithQEMU(t, file)
	dir.run(t, "qemu-img", "bitmap", "--disable", "-f", "qcow2", file, "a b")
	dir.run(t, "qemu-img", "bitmap", "--remove", "-f", "qcow2", file, "1")
	dir.run(t, "qemu-io", "-f", "qcow2", "-c", "write -q 1M 100k", file)
	compareWithQEMU(t, file)
	image, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(image[88:96]) // autoclear features: the bitmaps are out of date
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	compareWithQEMU(t, file)
}

// TestQEMUBitmapDirectory has flags, granularities and names that qemu-img
// does not write.
func TestQEMUBitmapDirectory(t *testing.T) {
	const inUse, auto = 1, 2
	var bitmaps []qcow2test.Bitmap
	for i, name := range append(oddNames(), strings.Repeat("N", 1023)) {
		bitmaps = append(bitmaps, qcow2test.Bitmap{Name: name, GranularityBits: uint8(9 + i%23), Flags: uint32(i % (inUse + auto + 1))})
	}
	file := newQEMUFolder(t).build(t, qcow2test.Image{ClusterBits: 12, Size: 4 << 20, Bitmaps: bitmaps})
	compareWithQEMU(t, file)
	for _, x := range rows(runDocument(t, "extensions", file)["extensions"]) {
		for i, row := range rows(x["bitmaps"]) {
			checkHex(t, row, "name", bitmaps[i].Name)
		}
	}
}

func TestQEMUEncrypt(t *testing.T) {
	const luks = "encrypt.format=luks,encrypt.iter-time=10"
	for _, options := range []string{
		"encrypt.format=aes",
		"encrypt.format=aes,compat=0.10",
		luks,
		luks + ",cluster_size=512,encrypt.cipher-alg=serpent-256,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain,encrypt.hash-alg=sha512",
		luks + ",cluster_size=2M,encrypt.cipher-alg=twofish-128,encrypt.cipher-mode=ctr,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			compareWithQEMU(t, newQEMUFolder(t).createEncrypted(t, options))
		})
	}
}

// createEncrypted makes disk.qcow2, encrypted, and returns its name. It tries
// again when qemu-img finds that the clock of the CPU time that it has used,
// by which it chooses the iterations, has not ticked: mere chance.
func (dir qemuFolder) createEncrypted(t *testing.T, options string) string {
	t.Helper()
	var out []byte
	for range 30 {
		c := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=qinspect",
			"-o", "encrypt.key-secret=key,"+options, "disk.qcow2", "1M")
		c.Dir = string(dir)
		var err error
		if out, err = c.CombinedOutput(); err == nil {
			return dir.file("disk.qcow2")
		}
		if !bytes.Contains(out, []byte("Unable to get accurate CPU usage")) {
			break
		}
	}
	t.Fatalf("qemu-img create -o %s: %s", options, out)
	return ""
}

// luksHeader returns the LUKS header of a fixture, with room for the largest
// key in every slot, and where it lies.
func luksHeader(t *testing.T, image []byte) (header []byte, offset int) {
	t.Helper()
	offset = bytes.Index(image, []byte("LUKS\xba\xbe"))
	if offset < 0 {
		t.Fatal("no LUKS header")
	}
	const slot = 504 // sectors, of 4000 stripes of 64 bytes
	header = slices.Clone(image[offset:][:592])
	for i := range uint32(8) {
		binary.BigEndian.PutUint32(header[208+48*i+40:], 8+slot*i)
	}
	binary.BigEndian.PutUint32(header[104:], 8+slot*8) // payload offset
	return header, offset
}

// TestQEMULUKS has what would take qemu-img seconds each: it changes fields of
// a LUKS header, which info reads without the key.
func TestQEMULUKS(t *testing.T) {
	dir := newQEMUFolder(t)
	image, err := os.ReadFile(filepath.Join("..", "testdata", "images", "luks.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	header, offset := luksHeader(t, image)
	compare := func(t *testing.T) {
		t.Helper()
		copy(image[offset:], header)
		if err := os.WriteFile(dir.file("luks.qcow2"), image, 0o600); err != nil {
			t.Fatal(err)
		}
		compareWithQEMU(t, dir.file("luks.qcow2"))
	}
	text := func(at, size int, s string) { copy(header[at:][:size], s+string(make([]byte, size))) }
	for _, test := range []struct {
		cipher, mode, hash string
		keyBytes           uint32
	}{
		{"aes", "xts-plain64", "sha256", 64}, {"aes", "xts-plain64", "sha256", 32}, {"aes", "xts-essiv:sha256", "sha1", 64},
		{"aes", "cbc-plain", "sha1", 16}, {"aes", "cbc-plain64", "sha384", 24}, {"aes", "cbc-essiv:sha256", "sha512", 32},
		{"aes", "ctr-plain64", "ripemd160", 32}, {"aes", "ecb-plain", "sha224", 16},
		{"serpent", "cbc-plain", "sha256", 16}, {"serpent", "xts-plain", "sha256", 32}, {"serpent", "cbc-essiv:sha256", "md5", 24},
		{"twofish", "cbc-plain64", "sha256", 24}, {"twofish", "xts-plain64", "sha256", 64}, {"twofish", "ctr-plain", "sha256", 32},
		{"cast5", "cbc-plain64", "sha256", 16}, {"cast5", "ecb-plain64", "sha1", 16},
	} {
		text(8, 32, test.cipher)
		text(40, 32, test.mode)
		text(72, 32, test.hash)
		binary.BigEndian.PutUint32(header[108:], test.keyBytes)
		t.Run(fmt.Sprint(test), compare)
	}
	text(168, 40, "odd \"uuid\" \xff\x1b")
	binary.BigEndian.PutUint32(header[164:], 1<<32-1)         // iterations of the master key
	binary.BigEndian.PutUint32(header[208+3*48:], 0x00ac71f3) // slot 3 is active
	binary.BigEndian.PutUint32(header[208+3*48+4:], 77)       // its iterations
	binary.BigEndian.PutUint32(header[208+3*48+44:], 4000)    // its stripes
	compare(t)
}
