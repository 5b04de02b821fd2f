package qcow2_test

import (
	"context"
	"errors"
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

func ExampleImage_Host() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	o := qcow2.HostOptions{Offset: 0xe00, Length: 1, Owners: true} // who refers to this cluster?
	for r, err := range img.Host(context.Background(), o) {
		switch {
		case err != nil:
			log.Print(err) // references that are hidden
		case r.HasReference:
			fmt.Printf("%#x: %v of owner %d, guest offset %#x, entry at %#x\n", r.Offset, r.Kind, r.Reference.Owner, r.Reference.GuestOffset, r.Reference.Entry)
		default:
			fmt.Printf("%#x: %v\n", r.Offset, r.Kind)
		}
	}
	// Output:
	// 0xe00: data of owner -1, guest offset 0x400, entry at 0x5210
	// 0xe00: data of owner 0, guest offset 0x400, entry at 0x810
	// 0xe00: data of owner 1, guest offset 0x400, entry at 0x2e10
	// 0xe00: data of owner 2, guest offset 0x400, entry at 0x2e10
}

func ExampleImage_Check() {
	file := qcow2test.Image{
		ClusterBits: 9, Size: 1 << 20,
		Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data},
		Patches:  map[string]uint64{"l2[0][1]": 0}, // the cluster that it pointed to leaks
	}.Build()
	img, err := qcow2.Open(file.Reader(), int64(len(file.Bytes)))
	if err != nil {
		log.Fatal(err)
	}

	result, err := img.Check(context.Background(), qcow2.CheckOptions{
		Finding: func(f *qcow2.Finding) bool {
			fmt.Printf("%v: %v, %d bytes at %#x, refcount %d, references %d\n", f.Severity, f.Kind, f.Length, f.Offset, f.Refcount, f.References)
			return true // go on
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d corruptions, %d leaks\n", result.Corruptions, result.Leaks)
	// Output:
	// leak: leak, 512 bytes at 0x800, refcount 1, references 0
	// 0 corruptions, 1 leaks
}

func ExampleImage_Usage() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	u, err := img.Usage(context.Background(), qcow2.UsageOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range u.Kinds {
		if k.Clusters > 0 {
			fmt.Printf("%v: %d bytes\n", k.Kind, k.Bytes)
		}
	}
	for _, o := range u.Owners {
		if o.Owner != qcow2.OwnerActive {
			fmt.Printf("deleting snapshot @%d frees %d bytes\n", o.Owner, o.Exclusive)
		}
	}
	// Output:
	// header: 512 bytes
	// refcount-table: 512 bytes
	// l1-table: 2048 bytes
	// snapshot-table: 512 bytes
	// refcount-block: 512 bytes
	// l2-table: 2560 bytes
	// data: 20480 bytes
	// deleting snapshot @0 frees 5120 bytes
	// deleting snapshot @1 frees 512 bytes
	// deleting snapshot @2 frees 512 bytes
}

// An error has a place in the file, and a kind to branch on.
func ExampleError() {
	file := qcow2test.Image{Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}}}.Build()
	file.Set("snapshot[1].extra_data_size", 0xffffffff)
	img, err := qcow2.Open(file.Reader(), int64(len(file.Bytes)))
	if err != nil {
		log.Fatal(err)
	}

	for s, err := range img.Snapshots() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q\n", s.Name)
		for _, e := range s.Damage {
			fmt.Printf("%s, at %#x, above a limit: %v\n", e.Section, e.Offset, errors.Is(e, qcow2.ErrLimit))
		}
	}
	// Output:
	// "one"
	// ""
	// snapshot table, at 0x1006c, above a limit: true
	// snapshot table, at 0x10070, above a limit: false
}

func ExampleImage_Diff() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	from, err := img.FindSnapshot("before-write")
	if err != nil {
		log.Fatal(err)
	}
	to, err := img.FindSnapshot("after-write")
	if err != nil {
		log.Fatal(err)
	}
	differences, totals := img.Diff(context.Background(), qcow2.DiffOptions{From: &from, To: &to})
	for d, err := range differences {
		if err != nil {
			log.Print(err) // the range is unknown, the next are not
			continue
		}
		fmt.Printf("%#x: %d bytes %v, were %v, are %v\n", d.Start, d.Length, d.Change, d.From.Kind, d.To.Kind)
	}
	fmt.Printf("%d bytes may differ; the second has %d bytes of its own\n", totals.Changed, totals.Written)
	// Output:
	// 0x1000: 4096 bytes written, were data, are data
	// 0x2000: 4096 bytes written, were unallocated, are data
	// 8192 bytes may differ; the second has 8192 bytes of its own
}
