package qcow2_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func ExampleOpen() {
	file := qcow2test.Image{Size: 10 << 20, IncompatibleFeatures: uint64(qcow2.Dirty)}.Build()

	img, err := qcow2.Open(file.Reader(), int64(len(file.Bytes)))
	if err != nil {
		log.Fatal(err)
	}
	h := img.Header()
	fmt.Printf("version %d, %d bytes, features: %v\n", h.Version, h.VirtualSize(), h.IncompatibleFeatures)
	for _, e := range img.HeaderErrors() {
		fmt.Println(e)
	}
	// Output:
	// version 3, 10485760 bytes, features: dirty
}

func ExampleOpenFile() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for s, err := range img.Snapshots() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %q: %d bytes\n", s.ID, s.Name, s.DiskSize)
	}
	// Output:
	// 1 "before-write": 1048576 bytes
	// 2 "after-write": 1048576 bytes
	// 3 "after-resize": 2097152 bytes
}

func ExampleImage_Bitmaps() {
	img, err := qcow2.OpenFile("../../testdata/images/bitmaps.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	x, ok := img.Extension(qcow2.ExtBitmaps)
	if !ok {
		log.Fatal("no bitmaps")
	}
	directory, err := x.BitmapDirectory()
	if err != nil {
		log.Fatal(err)
	}
	for b, err := range img.Bitmaps(directory) {
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

func ExampleImage_Guest() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	snapshot, err := img.FindSnapshot("after-write")
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range img.Guest(context.Background(), qcow2.GuestOptions{Snapshot: &snapshot, Length: 64 << 10}) {
		switch {
		case err != nil:
			log.Print(err) // a table is lost, what follows is not
		case m.HasHost:
			fmt.Printf("%#x: %d bytes of %v at %#x\n", m.Start, m.Length, m.Kind, m.HostOffset)
		default:
			fmt.Printf("%#x: %d bytes %v\n", m.Start, m.Length, m.Kind)
		}
	}
	// Output:
	// 0x0: 4096 bytes of data at 0xa00
	// 0x1000: 8192 bytes of data at 0x3000
	// 0x3000: 53248 bytes unallocated
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
