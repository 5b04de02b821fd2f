package qcow2_test

import (
	"fmt"
	"log"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

func ExampleImage_Header() {
	img, err := qcow2.OpenFile("../../testdata/images/extended-l2.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	h := img.Header()
	fmt.Println("version:", h.Version)
	fmt.Println("disk size:", h.VirtualSize())
	fmt.Println("features:", h.IncompatibleFeatures.Names(img.FeatureNames()))

	g, err := img.Geometry() // not every header has one
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("subclusters of", g.SubclusterSize, "bytes")
	// Output:
	// version: 3
	// disk size: 1048576
	// features: [extended-l2]
	// subclusters of 512 bytes
}

// Every field with its place in the file, as far as the header has it.
func ExampleHeader_Fields() {
	img, err := qcow2.OpenFile("../../testdata/images/v2.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for f, value := range img.Header().Fields() {
		if f.Offset >= 36 {
			fmt.Printf("%2d %s: %#x\n", f.Offset, f.Name, value)
		}
	}
	// Output:
	// 36 l1_size: 0x1
	// 40 l1_table_offset: 0x30000
	// 48 refcount_table_offset: 0x10000
	// 56 refcount_table_clusters: 0x1
	// 60 nb_snapshots: 0x0
	// 64 snapshots_offset: 0x0
}

func ExampleFields() {
	for f := range qcow2.Fields() {
		if f.Version == 3 && f.Size == 8 {
			fmt.Printf("%3d %s: %s\n", f.Offset, f.Name, f.Doc)
		}
	}
	// Output:
	//  72 incompatible_features: bit 0 dirty, 1 corrupt, 2 external data file, 3 compression type, 4 extended L2 entries
	//  80 compatible_features: bit 0 lazy refcounts
	//  88 autoclear_features: bit 0 bitmaps extension valid, 1 raw external data
}

func ExampleImage_Extensions() {
	img, err := qcow2.OpenFile("../../testdata/images/backing.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for x, err := range img.Extensions() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v at %#x: %d bytes\n", x.Type, x.Offset, len(x.Data))
	}
	// Output:
	// backing-file-format at 0x70: 5 bytes
}

// The name of the backing file is text of the image: nothing of that name is
// opened.
func ExampleImage_BackingFile() {
	img, err := qcow2.OpenFile("../../testdata/images/backing.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	name, ok, err := img.BackingFile()
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		fmt.Println("no backing file")
		return
	}
	format, _ := img.BackingFormat()
	fmt.Printf("%q, format %q\n", name, format)
	fmt.Println(qcow2.FullBackingName("/images/disk.qcow2", name))
	// Output:
	// "base.qcow2", format "qcow2"
	// /images/base.qcow2
}

func ExampleImage_Snapshots() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for s, err := range img.Snapshots() {
		if err != nil {
			log.Fatal(err)
		}
		taken := time.Unix(int64(s.Seconds), int64(s.Nanoseconds)).UTC()
		fmt.Printf("%s %q of %s: %d L1 entries at %#x\n", s.ID, s.Name, taken.Format(time.DateOnly), s.L1Size, s.L1TableOffset)
	}
	// Output:
	// 1 "before-write" of 2026-11-22: 32 L1 entries at 0x2a00
	// 2 "after-write" of 2026-11-22: 32 L1 entries at 0x5000
	// 3 "after-resize" of 2026-11-22: 64 L1 entries at 0x5c00
}

func ExampleImage_Bitmaps() {
	img, err := qcow2.OpenFile("../../testdata/images/bitmaps.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for b, err := range img.Bitmaps() {
		if err != nil {
			log.Fatal(err)
		}
		granularity, _ := b.Granularity()
		fmt.Printf("%s: a bit for %d bytes, flags %v\n", b.Name, granularity, b.Flags.Names())
	}
	// Output:
	// daily: a bit for 4096 bytes, flags [auto]
	// frozen: a bit for 512 bytes, flags []
	// weekly: a bit for 65536 bytes, flags [auto]
}

func ExampleImage_LUKS() {
	img, err := qcow2.OpenFile("../../testdata/images/luks.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	luks, ok, err := img.LUKS()
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		log.Fatal("not encrypted with LUKS")
	}
	fmt.Println(luks.CipherAlg(), luks.CipherModeAlg(), luks.HashSpec)
	for i, slot := range luks.KeySlots {
		if slot.Active() {
			fmt.Printf("key slot %d is in use, with %d stripes\n", i, slot.Stripes)
		}
	}
	// Output:
	// aes-128 cbc sha256
	// key slot 0 is in use, with 4000 stripes
}
