package qcow2_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A verdict is what a check makes of an image.
type verdict struct {
	refused bool // it cannot be opened
	corrupt bool
	leaks   uint64
}

// needQEMU skips a test where qemu-img is not installed.
func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
}

// qemuVerdict returns that of qemu-img check.
func qemuVerdict(t *testing.T, b *qcow2test.Built) verdict {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.qcow2")
	if err := os.WriteFile(file, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	// The backing file is of no interest.
	node := fmt.Sprintf(`json:{"driver": "qcow2", "backing": null, "file": {"driver": "file", "filename": %q}}`, file)
	out, err := exec.CommandContext(t.Context(), "qemu-img", "check", "--output=json", node).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatal(err)
	}
	if len(out) == 0 {
		return verdict{refused: true}
	}
	var doc struct{ Corruptions, Leaks uint64 }
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	return verdict{corrupt: doc.Corruptions > 0, leaks: doc.Leaks}
}

// ourVerdict returns that of Check, and what it found.
func ourVerdict(t *testing.T, b *qcow2test.Built) (verdict, []string) {
	t.Helper()
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
	if err == nil {
		err = img.Supported()
	}
	if err != nil {
		return verdict{refused: true}, []string{err.Error()}
	}
	found, result := check(t, img)
	return verdict{corrupt: result.Corruptions > 0, leaks: result.Leaks}, found
}

// agrees reports whether our verdict is QEMU's: if QEMU refuses the image, we
// refuse it too or find damage.
func (ours verdict) agrees(qemu verdict) bool {
	if qemu.refused {
		return ours.refused || ours.corrupt
	}
	return ours == qemu
}

// differsFromQEMU has the faults on which qemu-img check 7.2 has another verdict,
// and why; docs/problems.md has them too.
func differsFromQEMU() map[string]string {
	return map[string]string{
		"COPIED without offset":   "QEMU does not look at it",
		"data file, zeros COPIED": "QEMU does not look at it",
		"zero bit in version 2":   "QEMU does not look at it",
		"block with reserved bit": "QEMU uses the block, but does not count it: a leak",
	}
}

// TestQEMUFaults holds the verdict on each image with one fault, and the number
// of leaks, against qemu-img check: in both versions, with small clusters and
// large ones.
func TestQEMUFaults(t *testing.T) {
	needQEMU(t)
	for _, version := range []uint32{2, 3} {
		for _, bits := range []uint{10, 12, 16} {
			for name, f := range faults(version, bits) {
				t.Run(fmt.Sprintf("v%d/%d/%s", version, 1<<bits, name), func(t *testing.T) {
					t.Parallel()
					b := f.image.Build()
					if f.patch != nil {
						f.patch(b)
					}
					compareVerdict(t, b, differsFromQEMU()[name])
				})
			}
		}
	}
}

// compareVerdict holds our verdict against QEMU's. They differ if and only if
// there is a reason.
func compareVerdict(t *testing.T, b *qcow2test.Built, reason string) {
	t.Helper()
	qemu := qemuVerdict(t, b)
	ours, found := ourVerdict(t, b)
	if ours.agrees(qemu) != (reason == "") {
		t.Errorf("%+v, qemu-img: %+v; a reason to differ: %q\n%s", ours, qemu, reason, strings.Join(found, "\n"))
	}
}

// malformedDiffers has the malformed images on which qemu-img check 7.2 has another
// verdict, and why.
func malformedDiffers() map[string]string {
	reasons := map[string][]string{
		"QEMU does not look at COPIED without a host offset": {
			"v3 l2[0][0]=0x8000000000000000", "v3 l2[0][0]=0x8000000000000001", "zero l2[0][0]=0x8000000000000000", "zero l2[0][0]=0x8000000000000001",
		},
		"QEMU does not look at the zero bit in version 2": {"v2 l2[0][0]=0x1", "v2 l2[0][0]=0x8000000000003001"},
		"QEMU does not look at data file offsets":         {"data l2[0][5]=0x8000000000000000", "data l2[0][5]=0x8000000000006000", "data l2[0][5]=0x8080000000000000"},
		"QEMU does not count structures that end past the end of the file, but uses them": {
			"v3 l1_size=0x1000", "v3 l1_size=0x400000", "v3 largest-l1", "v3 refcount_table_clusters=0x3", "v3 refcount_table_clusters=0x800",
			"snap snapshot[0].extra_data_size=0xf", "snap snapshot[0].extra_data_size=0x10",
		},
		"QEMU uses the block, but does not count it: a leak":  {"v3 refcount_table[0]=0x6001"},
		"QEMU reads zeros past the end of the file, as names": {"snap snapshot[0].id_size=0xffff", "snap snapshot[1].name_size=0xffff"},
		"QEMU needs the secret, and cannot look":              {"v3 crypt_method=0x1", "luks twice", "luks payload-offset"},
		"QEMU opens the data file, which is not there":        {"data extension[0].length=0x1"},
	}
	differ := map[string]string{}
	for reason, names := range reasons {
		for _, name := range names {
			differ[name] = reason
		}
	}
	return differ
}

// TestQEMUMalformed holds the verdict on each malformed image against qemu-img
// check.
func TestQEMUMalformed(t *testing.T) {
	needQEMU(t)
	unused := maps.Clone(malformedDiffers())
	for name, b := range qcow2test.Malformed() {
		delete(unused, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareVerdict(t, b, malformedDiffers()[name])
		})
	}
	for name := range unused {
		t.Errorf("there is no malformed image %q", name)
	}
}
