package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// qemuIO runs commands of qemu-io on an image of the directory.
func (dir qemuFolder) qemuIO(t *testing.T, file string, commands ...string) {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	dir.run(t, "qemu-io", append(args, file)...)
}

// allKinds are commands that leave clusters of every kind in the first 24, out
// of order, with neighbours that go on and neighbours that do not.
func allKinds(cluster int) []string {
	at := func(command string, first, n int) string {
		return fmt.Sprintf("%s %d %d", command, first*cluster, n*cluster)
	}
	return []string{
		at("write -q", 5, 4), at("write -q", 3, 1), "write -q 512 512", at("write -q", 14, 2),
		at("discard -q", 16, 8), // QEMU compresses into no cluster that is allocated
		at("write -q -c -P 1", 20, 1), at("write -q -c -P 2", 21, 1), at("write -q -c -P 3", 18, 1),
		at("discard -q", 6, 1), at("write -q -z", 10, 4), at("write -q -z -u", 7, 1), at("write -q -z", 5, 1),
		at("write -q", 11, 1), at("write -q", 21, 1), at("discard -q", 18, 1),
	}
}

// TestQEMUMapClusterSizes has every kind of cluster in every cluster size,
// after them a table of its own, and an end that is no whole cluster.
func TestQEMUMapClusterSizes(t *testing.T) {
	for bits := 9; bits <= 21; bits++ {
		for _, compat := range []string{"0.10", "1.1"} {
			t.Run(fmt.Sprintf("%d %s", 1<<bits, compat), func(t *testing.T) {
				t.Parallel()
				cluster := 1 << bits
				entries := cluster / 8
				size := 2*entries*cluster + cluster/2 + 512
				dir := newQEMUFolder(t)
				file := dir.create(t, fmt.Sprintf("compat=%s,cluster_size=%d", compat, cluster), fmt.Sprint(size))
				dir.qemuIO(t, file, append(allKinds(cluster),
					fmt.Sprintf("write -q %d 512", size-512),
					fmt.Sprintf("write -q %d %d", (entries-2)*cluster, 3*cluster),
				)...)
				compareMap(t, file)
			})
		}
	}
}

func TestQEMUMapOptions(t *testing.T) {
	for _, options := range []string{
		"compression_type=zstd", "compression_type=zstd,cluster_size=512", "refcount_bits=64", "refcount_bits=1,cluster_size=4k", "lazy_refcounts=on",
		"preallocation=metadata", "preallocation=falloc", "preallocation=full", "preallocation=metadata,cluster_size=512", "preallocation=metadata,compat=0.10",
		"preallocation=falloc,cluster_size=4k", "preallocation=full,cluster_size=2M",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, options, "50332160")
			compareMap(t, file)
			cluster := number(t, runDocument(t, "header", file), "cluster-size")
			dir.qemuIO(t, file, allKinds(cluster)...)
			compareMap(t, file)
		})
	}
}

func TestQEMUMapSizes(t *testing.T) {
	for _, image := range []struct{ options, size string }{
		{"", "0"}, {"", "512"}, {"", "65536"}, {"", "66048"}, {"cluster_size=512", "512"}, {"cluster_size=512", "33280"},
		{"cluster_size=2M", "512"}, {"cluster_size=2M,extended_l2=on", "512"}, {"preallocation=metadata", "66048"},
		{"preallocation=metadata", "8G"}, {"preallocation=metadata,extended_l2=on", "8590131712"},
		{"cluster_size=512", "1G"}, {"compat=0.10", "1T"}, {"", "1P"}, {"cluster_size=2M", "1P"}, {"cluster_size=2M,extended_l2=on", "1P"},
	} {
		t.Run(image.options+" "+image.size, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, image.options, image.size)
			compareMap(t, file)
			size := number(t, runDocument(t, "header", file), "virtual-size")
			if size == 0 {
				return
			}
			dir.qemuIO(t, file, fmt.Sprintf("write -q %d 512", size-512), fmt.Sprintf("write -q %d 512", size/2&^511))
			compareMap(t, file)
		})
	}
}

// TestQEMUMapSubclusters has subclusters of every kind beside each other, and
// clusters whose subclusters are all alike.
func TestQEMUMapSubclusters(t *testing.T) {
	for _, options := range []string{
		"cluster_size=16k", "cluster_size=64k", "cluster_size=2M", "cluster_size=16k,preallocation=metadata", "cluster_size=16k,data_file=data.raw",
		"cluster_size=32k,preallocation=falloc", "cluster_size=128k,compression_type=zstd",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, "extended_l2=on,"+options, "53M")
			// Positions and lengths are in subclusters, 32 a cluster.
			unit := number(t, runDocument(t, "header", file), "subcluster-size")
			at := func(command string, first, n int) string {
				return fmt.Sprintf("%s %d %d", command, first*unit, n*unit)
			}
			commands := []string{
				at("write -q", 0, 1), at("write -q", 3, 2), at("write -q -z", 6, 3), at("write -q", 31, 34), at("write -q -z", 96, 32),
				at("write -q -z", 193, 1), at("write -q", 256, 32), at("write -q -z -u", 260, 3), at("write -q -z", 264, 1), at("discard -q", 288, 32),
				at("write -q -z", 320, 40), at("write -q", 384, 64), at("discard -q", 400, 1), at("write -q", 415, 1), at("discard -q", 32, 32),
				at("write -q", 500, 300), at("write -q -z", 512, 32), fmt.Sprintf("write -q %d 512", 53<<20-512),
			}
			if !strings.Contains(options, "data_file") {
				// QEMU compresses into no cluster that is allocated.
				commands = append(commands, at("discard -q", 128, 64), at("write -q -c -P 1", 128, 32), at("write -q -c -P 2", 160, 32), at("write -q", 163, 1))
			}
			dir.qemuIO(t, file, commands...)
			compareMap(t, file)
		})
	}
}

// TestQEMUMapRandom has what nobody thought of, the same on every run.
func TestQEMUMapRandom(t *testing.T) {
	const commands, sectors = 120, 2 << 11
	for seed, options := range []string{
		"cluster_size=512", "cluster_size=4k", "compat=0.10,cluster_size=1k", "preallocation=metadata,cluster_size=4k",
		"extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=64k", "extended_l2=on,cluster_size=16k,data_file=data.raw",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, options, fmt.Sprint(sectors*512))
			r := rand.New(rand.NewPCG(uint64(seed), 0))
			var list []string
			for range commands {
				verb := []string{"write", "write", "write -z", "write -z -u", "discard"}[r.IntN(5)]
				first := r.IntN(sectors)
				n := 1 + r.IntN(min(sectors-first, 1<<r.IntN(9)))
				list = append(list, fmt.Sprintf("%s -q %d %d", verb, first*512, n*512))
			}
			dir.qemuIO(t, file, list...)
			compareMap(t, file)
		})
	}
}

func TestQEMUMapDataFile(t *testing.T) {
	for _, options := range []string{
		"", "data_file_raw=on", "data_file_raw=on,preallocation=metadata", "preallocation=metadata", "extended_l2=on,preallocation=metadata", "cluster_size=512", "cluster_size=2M,data_file_raw=on", "preallocation=falloc",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, strings.TrimSuffix("data_file=data.raw,"+options, ","), "1049088")
			compareMap(t, file)
			dir.qemuIO(t, file, "write -q 0 512", "write -q 130k 64k", "write -q -z 512k 128k", "write -q -z 140k 1k", "discard -q 192k 64k", "write -q 1048576 512")
			compareMap(t, file)
			dir.qemuIO(t, file, "write -q -z 0 64k") // the entry keeps COPIED, and offset 0
			compareMap(t, file)
		})
	}
}

// TestQEMUMapBacking has overlays: what they do not have is not zero.
func TestQEMUMapBacking(t *testing.T) {
	for _, options := range []string{"", "cluster_size=512", "compat=0.10", "extended_l2=on,cluster_size=16k"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			if err := os.Rename(dir.create(t, "", "3M"), dir.file("base.qcow2")); err != nil {
				t.Fatal(err)
			}
			dir.qemuIO(t, dir.file("base.qcow2"), "write -q 0 2M")
			file := dir.create(t, options, "4M", "-b", "base.qcow2", "-F", "qcow2")
			dir.qemuIO(t, file, "write -q 64k 512", "write -q -z 256k 100k", "write -q -c 512k 64k", "discard -q 1M 64k", "write -q 1M 100k", "discard -q 1M 64k")
			compareMap(t, file)
		})
	}
}

// TestQEMUMapEncrypted has what has no offset for a reader.
func TestQEMUMapEncrypted(t *testing.T) {
	for _, format := range []string{"aes", "luks"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			options := "encrypt.format=" + format + ",cluster_size=4k"
			if format == "luks" {
				options += ",encrypt.iter-time=10"
			}
			dir := newQEMUFolder(t)
			file := dir.createEncrypted(t, options)
			args := []string{"--object", "secret,id=key,data=qinspect", "--image-opts"}
			for _, c := range []string{"write -q 0 9k", "write -q -z 64k 16k", "write -q -z 4k 4k", "write -q 128k 64k", "discard -q 140k 4k"} {
				args = append(args, "-c", c)
			}
			dir.run(t, "qemu-io", append(args, "driver=qcow2,encrypt.key-secret=key,encrypt.format="+format+",file.filename=disk.qcow2")...)
			compareMap(t, file)
		})
	}
}

// TestQEMUMapSnapshots has snapshots that share tables and clusters with each
// other and with the disk, which is another size afterwards.
func TestQEMUMapSnapshots(t *testing.T) {
	for _, options := range []string{"", "cluster_size=512", "cluster_size=512,compat=0.10", "extended_l2=on,cluster_size=16k"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, options, "1049088")
			snapshot := func(name string, commands ...string) {
				dir.qemuIO(t, file, commands...)
				dir.run(t, "qemu-img", "snapshot", "-q", "-c", name, file)
			}
			snapshot("first", "write -q 0 200k", "write -q -z 64k 64k", "write -q -c 512k 64k")
			snapshot("second", "write -q 100k 100k", "write -q -z 512k 64k", "discard -q 0 64k")
			if !strings.Contains(options, "compat=0.10") { // which QEMU cannot resize then
				dir.run(t, "qemu-img", "resize", "-q", "-f", "qcow2", file, "9000448")
			}
			snapshot("third", "write -q 1M 512", "write -q -c 256k 64k")
			dir.qemuIO(t, file, "write -q 640k 64k")
			compareMap(t, file)
			dir.compareSnapshots(t, file, 0, 1, 2)
			dir.run(t, "qemu-img", "snapshot", "-q", "-d", "second", file)
			compareMap(t, file)
			dir.compareSnapshots(t, file, 0, 1)
		})
	}
}

// TestQEMUMapManySnapshots has a snapshot table of many clusters.
func TestQEMUMapManySnapshots(t *testing.T) {
	t.Parallel()
	const snapshots = 120
	dir := newQEMUFolder(t)
	file := dir.create(t, "cluster_size=512", "256k")
	for i := range snapshots {
		if i%4 == 0 {
			dir.qemuIO(t, file, fmt.Sprintf("write -q %d 3k", i<<10), fmt.Sprintf("discard -q %d 512", i<<11&(256<<10-1)))
		}
		if i == snapshots/2 {
			dir.run(t, "qemu-img", "resize", "-q", "-f", "qcow2", file, "300k")
		}
		dir.run(t, "qemu-img", "snapshot", "-q", "-c", fmt.Sprintf("snapshot %d", i), file)
	}
	compareMap(t, file)
	dir.compareSnapshots(t, file, 0, 1, 7, snapshots/2-1, snapshots/2, 100, snapshots-1)
}
