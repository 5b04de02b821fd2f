package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests here do what usage says: they delete the snapshots, copy the image,
// punch the holes, cut, repair and discard, and measure again.

// A usageDocument is what the tests here read of usage.
type usageDocument struct {
	FileSize       uint64  `json:"file-size"`
	ActualSize     *uint64 `json:"actual-size"`
	ImageEndOffset uint64  `json:"image-end-offset"`
	Tail           uint64
	Holes          *struct{ Mapped, Free, Unwritten uint64 }
	CompactAtMost  *uint64 `json:"compact-at-most"`
	Kinds          []struct {
		Kind   string
		Bytes  uint64
		OnDisk *uint64 `json:"on-disk"`
	}
	Owners []struct {
		SnapshotIndex *int `json:"snapshot-index"`
		Exclusive     uint64
		WithOlder     *uint64 `json:"exclusive-with-older"`
		VMState       uint64  `json:"vm-state"`
	}
	SnapshotsOnly uint64 `json:"snapshots-only"`
	WhatIf        *struct {
		Snapshots []string
		Freed     uint64
	} `json:"what-if"`
	Free    struct{ Bytes uint64 }
	Reclaim []reclaimDocument
	Remark  *string
}

type reclaimDocument struct {
	Kind            string
	Clusters, Bytes uint64
	OnDisk          *uint64 `json:"on-disk"`
	How             string
}

// usageOf runs usage on an image that is fine.
func usageOf(t *testing.T, file string, flags ...string) usageDocument {
	t.Helper()
	var u usageDocument
	if code := runJSON(t, &u, append([]string{"usage", file}, flags...)...); code != 0 {
		t.Fatalf("usage %s: exit status %d", file, code)
	}
	return u
}

// reclaimed returns what can be reclaimed of a kind.
func (u *usageDocument) reclaimed(kind string) reclaimDocument {
	i := slices.IndexFunc(u.Reclaim, func(r reclaimDocument) bool { return r.Kind == kind })
	if i < 0 {
		return reclaimDocument{Kind: "no " + kind}
	}
	return u.Reclaim[i]
}

// onDisk returns how much of the file lies in no hole, and whether that is known.
func (u *usageDocument) onDisk() (n uint64, ok bool) {
	for _, k := range u.Kinds {
		if k.OnDisk == nil {
			return 0, false
		}
		n += *k.OnDisk
	}
	return n, true
}

// randomHistory makes a snapshot after each of some rounds of random commands,
// which begin and end at multiples of grain, in bytes, and returns how many. Data
// are never zeros.
func (dir qemuFolder) randomHistory(t *testing.T, r *rand.Rand, file string, size, grain int) (snapshots int) {
	t.Helper()
	snapshots = 1 + r.IntN(4)
	for round := range snapshots + 1 {
		var list []string
		for range 2 + r.IntN(8) {
			verb := []string{"write -q -P 1", "write -q -P 2", "write -q -P 3", "write -q -z", "write -q -z -u", "discard -q"}[r.IntN(6)]
			first := r.IntN(size / grain)
			n := 1 + r.IntN(min(size/grain-first, 1<<r.IntN(6)))
			list = append(list, fmt.Sprintf("%s %d %d", verb, first*grain, n*grain))
		}
		dir.qemuIO(t, file, list...)
		if round < snapshots {
			dir.run(t, "qemu-img", "snapshot", "-c", fmt.Sprintf("daily %d", round), file)
		}
	}
	return snapshots
}

// freedBy returns how many bytes fewer have a refcount than before, those of the
// snapshot table apart: QEMU writes it anew, also to what has just become free.
func freedBy(t *testing.T, before, after string) uint64 {
	t.Helper()
	size, end := uint64(number(t, runDocument(t, "header", before), "cluster-size")), usageOf(t, before).FileSize
	used := func(file string) (n uint64) {
		counts, table := refcounts(t, file)
		for offset, count := range counts {
			switch {
			case count == 0 || table[offset]:
			case offset < end && end-offset < size: // the last cluster of the file, which was cut
				n += end - offset
			default:
				n += size
			}
		}
		return n
	}
	return used(before) - used(after)
}

// copyOf copies an image, holes and all that is not data too.
func (dir qemuFolder) copyOf(t *testing.T, file, name string) string {
	t.Helper()
	dir.run(t, "cp", "--sparse=never", file, dir.file(name))
	return dir.file(name)
}

// delete deletes the snapshots at some positions of the table.
func (dir qemuFolder) delete(t *testing.T, file string, positions []int) {
	t.Helper()
	for _, i := range positions {
		dir.run(t, "qemu-img", "snapshot", "-d", fmt.Sprintf("daily %d", i), file)
	}
}

// TestQEMUUsage does what usage says on images with random histories.
func TestQEMUUsage(t *testing.T) {
	needQEMU(t)
	options := []string{
		"cluster_size=4k", "cluster_size=64k", "cluster_size=16k", "compat=0.10,cluster_size=8k", "cluster_size=128k",
		"extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=64k", "cluster_size=4k,refcount_bits=64",
		"cluster_size=4k,preallocation=metadata", "cluster_size=512", "compression_type=zstd,cluster_size=32k", "cluster_size=2k,lazy_refcounts=on",
	}
	for seed := range 48 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			const size = 4 << 20
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			dir := newQEMUFolder(t)
			file := dir.create(t, options[seed%len(options)], fmt.Sprint(size))
			grain := number(t, runDocument(t, "header", file), "cluster-size")
			if seed >= 36 {
				grain = 512
			}
			n := dir.randomHistory(t, r, file, size, grain)
			dir.compareWithout(t, file, r, n)
			dir.compareCompact(t, file, grain > 512 && !strings.Contains(options[seed%len(options)], "preallocation"))
			dir.compareReclaim(t, file, n)
		})
	}
}

// compareWithout deletes snapshots of copies: any of them, the oldest ones, and
// all.
func (dir qemuFolder) compareWithout(t *testing.T, file string, r *rand.Rand, n int) {
	t.Helper()
	var flags []string
	var some []int
	for i := range n {
		if r.IntN(2) == 0 {
			some = append(some, i)
			flags = append(flags, "--without", fmt.Sprintf("daily %d", i))
		}
	}
	if len(some) > 0 {
		without := dir.copyOf(t, file, "without.qcow2")
		dir.delete(t, without, some)
		u := usageOf(t, file, flags...)
		if freed := freedBy(t, file, without); u.WhatIf == nil || u.WhatIf.Freed != freed || len(u.WhatIf.Snapshots) != len(some) {
			t.Errorf("without %v: %+v, but deleting them frees %d", some, u.WhatIf, freed)
		}
	}
	u := usageOf(t, file)
	older := dir.copyOf(t, file, "older.qcow2")
	for i := range n {
		dir.delete(t, older, []int{i})
		freed := freedBy(t, file, older)
		if got := u.Owners[i+1].WithOlder; got == nil || *got != freed {
			t.Errorf("deleting snapshots up to @%d frees %d; usage: %+v", i, freed, u.Owners[i+1])
		}
		if i == n-1 && (u.SnapshotsOnly != freed || u.reclaimed("snapshots").Bytes != freed) {
			t.Errorf("deleting all snapshots frees %d; usage: %d, %+v", freed, u.SnapshotsOnly, u.reclaimed("snapshots"))
		}
	}
}

// compareCompact copies an image. A copy may be smaller than usage says where
// clusters were written in part, or not at all.
func (dir qemuFolder) compareCompact(t *testing.T, file string, exact bool) {
	t.Helper()
	most := usageOf(t, file).CompactAtMost
	dir.run(t, "qemu-img", "convert", "-O", "qcow2", file, "compact.qcow2")
	info, err := os.Stat(dir.file("compact.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	if size := uint64(info.Size()); most == nil || *most < size || exact && *most != size {
		t.Errorf("compact-at-most %v, a copy has %d", *most, size)
	}
}

// compareReclaim gives back what there is, one kind after the other, and compares
// what is left. The disk must stay what it is.
func (dir qemuFolder) compareReclaim(t *testing.T, file string, n int) {
	t.Helper()
	changed := dir.copyOf(t, file, "reclaimed.qcow2")
	var all []int
	for i := range n {
		all = append(all, i)
	}
	dir.delete(t, changed, all)
	if r := usageOf(t, changed); r.reclaimed("snapshots").Bytes != 0 {
		t.Errorf("without snapshots: %+v", r.reclaimed("snapshots"))
	}
	dir.discardZeros(t, changed)
	dir.leakAndRepair(t, changed)
	dir.cutTail(t, changed)
	dir.punchFree(t, changed)
	dir.run(t, "qemu-img", "compare", file, changed)
	compareCheck(t, changed)
}

// discardZeros discards what is zero-allocated, once no snapshot has it.
func (dir qemuFolder) discardZeros(t *testing.T, file string) {
	t.Helper()
	before := usageOf(t, file)
	var guest struct {
		Guest []struct {
			Start, Length uint64
			Kind          string
		}
	}
	runJSON(t, &guest, "guest", "--per-cluster", file)
	var list []string
	for _, g := range guest.Guest {
		if g.Kind == "zero-allocated" {
			list = append(list, fmt.Sprintf("discard -q %d %d", g.Start, g.Length))
		}
	}
	if len(list) == 0 {
		return
	}
	dir.qemuIO(t, file, list...)
	after := usageOf(t, file)
	want := before.Free.Bytes + before.reclaimed("zero-allocated").Bytes
	if after.Free.Bytes != want || after.reclaimed("zero-allocated").Bytes != 0 {
		t.Errorf("%d bytes are free after a discard, want %d; left: %+v", after.Free.Bytes, want, after.reclaimed("zero-allocated"))
	}
}

// leakAndRepair gives the free clusters refcounts, and repairs that.
func (dir qemuFolder) leakAndRepair(t *testing.T, file string) {
	t.Helper()
	before := usageOf(t, file)
	if before.Free.Bytes == 0 || number(t, runDocument(t, "header", file), "refcount-bits") != 16 {
		return
	}
	var host struct{ Host []hostDocument }
	runJSON(t, &host, "host", "--kind", "free,refcount-block", "--per-cluster", file)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := uint64(number(t, runDocument(t, "header", file), "cluster-size"))
	var block uint64 // the first has the refcounts of the clusters here
	for _, h := range host.Host {
		if h.Kind == "refcount-block" {
			block = h.Offset
			break
		}
	}
	leaked := uint64(0)
	for _, h := range host.Host {
		if cluster := h.Offset / size; h.Kind == "free" && cluster < size/2 {
			if _, err := f.WriteAt([]byte{0, 1}, int64(block+2*cluster)); err != nil {
				t.Fatal(err)
			}
			leaked += h.Length
		}
	}
	u := usageOf(t, file)
	if r := u.reclaimed("leaked"); r.Bytes != leaked {
		t.Errorf("%d bytes are leaked; usage: %+v", leaked, r)
	}
	dir.run(t, "qemu-img", "check", "-q", "-r", "leaks", file)
	if after := usageOf(t, file); after.Free.Bytes != before.Free.Bytes || after.reclaimed("leaked").Bytes != 0 {
		t.Errorf("%d bytes are free after a repair, want %d; left: %+v", after.Free.Bytes, before.Free.Bytes, after.reclaimed("leaked"))
	}
}

// cutTail adds a tail to the file, and cuts it.
func (dir qemuFolder) cutTail(t *testing.T, file string) {
	t.Helper()
	before := usageOf(t, file)
	if err := os.Truncate(file, int64(before.FileSize+100000)); err != nil {
		t.Fatal(err)
	}
	u := usageOf(t, file)
	if tail := u.FileSize - u.ImageEndOffset; u.Tail != tail || u.reclaimed("tail").Bytes != tail {
		t.Errorf("a tail of %d bytes; usage: %+v", tail, u.reclaimed("tail"))
	}
	dir.run(t, "truncate", "-s", fmt.Sprint(u.ImageEndOffset), file)
	if after := usageOf(t, file); after.Tail != 0 || after.reclaimed("free").Bytes != u.reclaimed("free").Bytes {
		t.Errorf("after the cut: a tail of %d, %+v; before %+v", after.Tail, after.reclaimed("free"), u.reclaimed("free"))
	}
}

// punchFree punches holes where host says that clusters are free. A file system
// gives back whole blocks: from smaller clusters not all of it.
func (dir qemuFolder) punchFree(t *testing.T, file string) {
	t.Helper()
	if _, err := exec.LookPath("fallocate"); err != nil {
		t.Log("fallocate is not installed")
		return
	}
	before := usageOf(t, file)
	beforeOnDisk, ok := before.onDisk()
	if !ok {
		t.Log("holes are not known here")
		return
	}
	var host struct{ Host []hostDocument }
	runJSON(t, &host, "host", "--kind", "free", file)
	for _, h := range host.Host {
		dir.run(t, "fallocate", "-p", "-o", fmt.Sprint(h.Offset), "-l", fmt.Sprint(h.Length), file)
	}
	after := usageOf(t, file)
	afterOnDisk, _ := after.onDisk()
	gone, free := beforeOnDisk-afterOnDisk, *before.reclaimed("free").OnDisk
	if size := number(t, runDocument(t, "header", file), "cluster-size"); gone > free || size >= 4096 && gone != free {
		t.Errorf("holes took %d bytes of the %d that are free", gone, free)
	}
	if left := *after.reclaimed("free").OnDisk; left != free-gone {
		t.Errorf("%d bytes of free clusters are on disk after that, want %d", left, free-gone)
	}
}

// TestQEMUUsageTrap: a zero write after a snapshot keeps the host offset. For the
// snapshot the cluster still is data, so it is not to be given back.
func TestQEMUUsageTrap(t *testing.T) {
	dir := newQEMUFolder(t)
	file := dir.create(t, "cluster_size=64k", "1M")
	dir.qemuIO(t, file, "write -q -P 1 0 128k", "write -q -P 1 256k 64k")
	dir.run(t, "qemu-img", "snapshot", "-c", "s", file)
	dir.qemuIO(t, file, "write -q -z 0 64k", "write -q -P 2 256k 64k", "write -q -z 256k 64k")
	u := usageOf(t, file)
	if r := u.reclaimed("zero-allocated"); r.Clusters != 1 || r.How != "discard" {
		t.Errorf("%+v, want the cluster of the active image alone", r)
	}
}

// TestUsageCompactFixtures holds what a copy has against what was measured once.
func TestUsageCompactFixtures(t *testing.T) {
	for name, want := range map[string]uint64{
		"snapshots": 524288, "v3": 458752, "zstd": 524288, "bitmaps": 458752, "extended-l2": 393216, "refcount1": 393216,
	} {
		u := usageOf(t, filepath.Join("..", "testdata", "images", name+".qcow2"))
		if u.CompactAtMost == nil || *u.CompactAtMost != want {
			t.Errorf("%s: compact-at-most %v, want %d", name, u.CompactAtMost, want)
		}
	}
	for _, name := range []string{"backing", "data-file"} {
		if u := usageOf(t, filepath.Join("..", "testdata", "images", name+".qcow2")); u.CompactAtMost != nil {
			t.Errorf("%s: compact-at-most %d, want null", name, *u.CompactAtMost)
		}
	}
}
