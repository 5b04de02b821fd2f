package qcow2_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// The L2 table of a snapshot, word by word.
func ExampleImage_Decode() {
	img, err := qcow2.OpenFile("../../testdata/images/tables.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	snapshot, err := img.FindSnapshot("one")
	if err != nil {
		log.Fatal(err)
	}
	table, err := img.FindTable(qcow2.TableSelector{Kind: qcow2.HostL2Table, Snapshot: &snapshot})
	if err != nil {
		log.Fatal(err) // there is no such table, or what points to it is damaged
	}
	for e, err := range img.Decode(context.Background(), table, qcow2.DecodeOptions{}) {
		if err != nil {
			log.Print(err) // a part of the table cannot be read; the next comes after it
			continue
		}
		fmt.Printf("%#x: %d of %#x, %s, refcount %d\n", e.Offset, e.Count, e.Value, e.Kind, e.Refcount)
	}
	// Output:
	// 0x4000: 1 of 0x5000, data, refcount 2
	// 0x4008: 1 of 0x6000, data, refcount 1
	// 0x4010: 14 of 0x7000, data, refcount 2
	// 0x4080: 2 of 0x1, zero, refcount 0
	// 0x4100: 1 of 0x4000000000015000, compressed, refcount 4
	// 0x4108: 1 of 0x4000000000015016, compressed, refcount 4
}

// What a leaked cluster may have been.
func ExampleImage_TableAs() {
	img, err := qcow2.OpenFile("../../testdata/images/tables.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	table, err := img.TableAs(qcow2.HostL2Table, 0x4000)
	if err != nil {
		log.Fatal(err) // the file ends before
	}
	var valid, invalid uint64
	for e, err := range img.Decode(context.Background(), table, qcow2.DecodeOptions{}) {
		switch {
		case err != nil:
			log.Print(err)
		case e.Problems != 0:
			invalid += e.Count
		default:
			valid += e.Count
		}
	}
	fmt.Println("as an L2 table:", valid, "valid entries,", invalid, "invalid")
	// Output: as an L2 table: 20 valid entries, 0 invalid
}
