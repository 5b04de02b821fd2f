package qcow2_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// The size of the next incremental backup with each bitmap, and how much of it has
// to be read.
func ExampleImage_BitmapContents() {
	img, err := qcow2.OpenFile("../../testdata/images/bitmaps.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	for c, err := range img.BitmapContents(context.Background()) {
		switch {
		case err != nil:
			log.Fatal(err)
		case c.Unreadable != nil || c.State > qcow2.StateDisabled:
			fmt.Printf("%s: make a full backup: %s\n", c.Name, c.Reason())
		default:
			fmt.Printf("%s: %d bytes in %d ranges, %d of them data\n", c.Name, c.Dirty, c.Ranges, c.Data)
		}
	}
	// Output:
	// daily: 8192 bytes in 2 ranges, 5120 of them data
	// frozen: 5120 bytes in 2 ranges, 5120 of them data
	// weekly: 0 bytes in 0 ranges, 0 of them data
}

// The ranges that an incremental backup copies, as NBD has them.
func ExampleImage_DirtyRanges() {
	img, err := qcow2.OpenFile("../../testdata/images/bitmaps.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	daily, err := img.FindBitmap("daily")
	if err != nil {
		log.Fatal(err)
	}
	for r, err := range img.DirtyRanges(context.Background(), daily) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Start, r.Length)
	}
	// Output:
	// 0 4096
	// 3145728 4096
}

// The same ranges with where their bytes lie: what is no data needs no read.
func ExampleImage_Dirty() {
	img, err := qcow2.OpenFile("../../testdata/images/bitmaps.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	daily, err := img.FindBitmap("daily")
	if err != nil {
		log.Fatal(err)
	}
	o := qcow2.DirtyOptions{Bitmaps: []qcow2.Bitmap{daily}}
	for d, err := range img.Dirty(context.Background(), o) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Start, d.Length, d.Kind, d.Offset)
	}
	// Output:
	// 0 4096 data 5120
	// 3145728 1024 data 9728
	// 3146752 3072 unallocated 0
}
