package render_test

import (
	"fmt"
	"os"

	"github.com/qinspect/qinspect/pkg/render"
)

// A section of facts, and one of rows, in each of the formats.
func ExampleNew() {
	facts := &render.Section{
		ClusterBits: 16,
		Columns: []render.Column{
			{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize},
			{Key: "l1-table.offset", Title: "L1 table", Kind: render.KindAddr},
			{Key: "l1-table.entries", Title: "L1 table entries", Kind: render.KindUint},
		},
	}
	snapshots := &render.Section{
		Key:    "snapshots",
		Title:  "Snapshots",
		Layout: render.LayoutList,
		Label:  "id",
		Columns: []render.Column{
			{Key: "id", Title: "ID", Kind: render.KindText},
			{Key: "name", Title: "NAME", Kind: render.KindImageText},
			{Key: "disk-size", Title: "DISK SIZE", Kind: render.KindSize},
		},
	}
	for _, format := range render.AllFormats() {
		fmt.Printf("-- %s --\n", format)
		r := render.New(format, os.Stdout, render.Options{})
		r.Begin(render.Document{Schema: "qinspect/example/1", Filename: "disk.qcow2"})
		r.Section(facts)
		r.Row([]render.Value{render.Size(1 << 30), render.Addr(0x30000), render.Uint(2)})
		r.Section(snapshots)
		r.Row([]render.Value{render.Text("1"), render.ImageText("before update"), render.Size(1 << 30)})
		r.Row([]render.Value{render.Text("2"), render.ImageText("\x1b[31mred"), render.Null})
		if err := r.End(); err != nil { // the first error of all that was written
			fmt.Println(err)
		}
	}

	// Output:
	// -- table --
	// ┌──────────────────┬──────────────────────────┐
	// │ Virtual size     │ 1 GiB (1073741824 bytes) │
	// │ L1 table         │ 0x30000 (#3)             │
	// │ L1 table entries │ 2                        │
	// └──────────────────┴──────────────────────────┘
	//
	// Snapshots
	// ┌────┬───────────────┬───────────┐
	// │ ID │ NAME          │ DISK SIZE │
	// ├────┼───────────────┼───────────┤
	// │ 1  │ before update │     1 GiB │
	// │ 2  │ \x1b[31mred   │         - │
	// └────┴───────────────┴───────────┘
	// -- plain --
	// virtual-size: 1073741824
	// l1-table.offset: 0x30000 (#3)
	// l1-table.entries: 2
	// snapshots.1.name: before update
	// snapshots.1.disk-size: 1073741824
	// snapshots.2.name: \x1b[31mred
	// snapshots.2.disk-size: -
	// -- json --
	// {
	//   "schema": "qinspect/example/1",
	//   "filename": "disk.qcow2",
	//   "filename-hex": null,
	//   "virtual-size": 1073741824,
	//   "l1-table": {"offset":196608,"entries":2},
	//   "snapshots": [
	//     {"id":"1","name":"before update","name-hex":null,"disk-size":1073741824},
	//     {"id":"2","name":"\u001b[31mred","name-hex":null,"disk-size":null}
	//   ]
	// }
	// -- ndjson --
	// {"schema":"qinspect/example/1","filename":"disk.qcow2","filename-hex":null,"virtual-size":1073741824,"l1-table":{"offset":196608,"entries":2},"snapshots":[{"id":"1","name":"before update","name-hex":null,"disk-size":1073741824},{"id":"2","name":"\u001b[31mred","name-hex":null,"disk-size":null}]}
}

// In ndjson a stream has a row a line, and the document ends it.
func ExampleNew_stream() {
	guest := &render.Section{
		Key:    "guest",
		Layout: render.LayoutStream,
		Columns: []render.Column{
			{Key: "start", Title: "GUEST", Kind: render.KindAddr},
			{Key: "host-offset", Title: "HOST", Kind: render.KindAddr},
		},
	}
	r := render.New(render.FormatNDJSON, os.Stdout, render.Options{})
	r.Begin(render.Document{Schema: "qinspect/guest/1", Filename: "disk.qcow2"})
	r.Section(guest)
	row := make([]render.Value, 0, len(guest.Columns)) // one slice for all rows
	for n := range uint64(3) {
		row = append(row[:0], render.Addr(n<<16), render.Addr(n<<16+0x50000))
		if err := r.Row(row); err != nil {
			break // End returns it too
		}
	}
	if err := r.End(); err != nil {
		fmt.Println(err)
	}

	// Output:
	// {"filename":"disk.qcow2","start":0,"host-offset":327680}
	// {"filename":"disk.qcow2","start":65536,"host-offset":393216}
	// {"filename":"disk.qcow2","start":131072,"host-offset":458752}
	// {"schema":"qinspect/guest/1","filename":"disk.qcow2","filename-hex":null}
}

// What belongs to a row of a list is a section of its own, nested in it.
func ExampleRows() {
	slots := &render.Section{
		Key:    "slots",
		Title:  "Key slots",
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "active", Title: "ACTIVE", Kind: render.KindBool},
			{Key: "stripes", Title: "STRIPES", Kind: render.KindUint},
		},
	}
	headers := &render.Section{
		Key:    "headers",
		Title:  "Encryption headers",
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "cipher", Title: "CIPHER", Kind: render.KindText},
			{Key: "slots", Kind: render.KindRows},
		},
	}
	rows := func(yield func([]render.Value) bool) { // called when they are drawn
		_ = yield([]render.Value{render.Bool(true), render.Uint(4000)}) &&
			yield([]render.Value{render.Bool(false), render.Null})
	}
	r := render.New(render.FormatTable, os.Stdout, render.Options{})
	r.Begin(render.Document{Schema: "qinspect/example/1", Filename: "disk.qcow2"})
	r.Section(headers)
	r.Row([]render.Value{render.Text("aes-256"), render.Rows(slots, rows)})
	if err := r.End(); err != nil {
		fmt.Println(err)
	}

	// Output:
	// Encryption headers
	// ┌─────────┐
	// │ CIPHER  │
	// ├─────────┤
	// │ aes-256 │
	// └─────────┘
	//
	// Key slots
	// ┌────────┬─────────┐
	// │ ACTIVE │ STRIPES │
	// ├────────┼─────────┤
	// │ yes    │    4000 │
	// │ no     │       - │
	// └────────┴─────────┘
}

// Bytes of an image do not reach a terminal as they are.
func ExampleEscape() {
	fmt.Println(render.Escape("caf\u00e9 \x1b[2J\xff"))
	// Output: café \x1b[2J\xff
}

// What is written as a document can be part of another.
func ExampleNested() {
	check := func(r render.Sections) {
		r.Section(&render.Section{Columns: []render.Column{{Key: "leaks", Title: "Leaks", Kind: render.KindUint}}})
		r.Row([]render.Value{render.Uint(2)})
	}
	images := &render.Section{
		Key:    "images",
		Layout: render.LayoutList,
		Label:  "name",
		Columns: []render.Column{
			{Key: "name", Title: "NAME", Kind: render.KindImageText},
			{Key: "check", Kind: render.KindNested},
		},
	}
	for _, format := range []render.Format{render.FormatPlain, render.FormatNDJSON} {
		r := render.New(format, os.Stdout, render.Options{})
		r.Begin(render.Document{Schema: "qinspect/example/1", Filename: "images"})
		r.Section(images)
		r.Row([]render.Value{render.ImageText("disk.qcow2"), render.Nested(check)})
		if err := r.End(); err != nil {
			fmt.Println(err)
		}
	}

	// Output:
	// images.disk.qcow2.check.leaks: 2
	// {"schema":"qinspect/example/1","filename":"images","filename-hex":null,"images":[{"name":"disk.qcow2","name-hex":null,"check":{"leaks":2}}]}
}
