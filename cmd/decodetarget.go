package cmd

import (
	"fmt"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// decodeOwners is how many references to a cluster the head of a table lists.
const decodeOwners = 1000

// A decodeTarget is the table that decode shows, and what is known of it.
type decodeTarget struct {
	rep     *report
	options *decodeOptions
	kind    qcow2.HostKind
	table   *qcow2.Table      // nil: it cannot be found
	owners  []qcow2.HostRange // references to it, of them the first
	total   uint64            // references to it
	walked  bool              // all references are known
	asked   string            // decoded as asked, and why that is remarkable
}

// find finds a table by its kind.
func (d *decodeTarget) find() error {
	s := qcow2.TableSelector{Kind: d.kind, Index: d.options.index}
	var err error
	if s.Snapshot, err = d.options.snapshot.find(d.rep.img); err != nil {
		return err
	}
	if d.kind == qcow2.HostBitmapTable || d.kind == qcow2.HostBitmapData {
		if s.Bitmap, err = d.options.bitmap.find(d.rep.img); err != nil {
			return err
		}
	}
	d.table, err = d.rep.img.FindTable(s)
	if err == nil && d.kind != qcow2.HostHeader {
		d.owners = []qcow2.HostRange{{Kind: d.kind, Reference: d.table.Reference}}
	}
	return err
}

// lookAt finds out what the cluster of an address is.
func (d *decodeTarget) lookAt(g qcow2.Geometry) error {
	at, err := d.options.at.bytes(g.ClusterBits)
	if err != nil {
		return err
	}
	if size := uint64(d.rep.img.Size()); at >= size {
		return fmt.Errorf("the file ends at %#x, before that address", size)
	}
	asked := d.kind != qcow2.HostUnknown
	if err := d.rep.img.Supported(); err != nil {
		if !asked {
			return &hintError{err, "--kind decodes the cluster without looking up what it is"}
		}
		d.asked = "what refers to it cannot be known"
		d.table, err = d.rep.img.TableAs(d.kind, at)
		return err
	}
	if err := d.walk(at); err != nil {
		return err
	}
	return d.choose(at, asked)
}

// walk finds all references to the cluster of an address.
func (d *decodeTarget) walk(at uint64) error {
	opts := qcow2.HostOptions{Offset: at, Length: 1, Owners: true, Limit: decodeOwners, Progress: d.rep.progress.report}
	err := each(d.rep, d.rep.img.Host(d.rep.ctx, opts), func(r *qcow2.HostRange) error {
		d.owners, d.total = append(d.owners, *r), r.References
		return nil
	})
	if d.walked = true; d.total > decodeOwners {
		d.rep.note(&hintError{fmt.Errorf("of %d references %d are listed", d.total, decodeOwners), "'qinspect host --at' lists all"})
	}
	return err
}

// choose decides what the cluster is decoded as: what is asked for, else the metadata
// that it holds.
func (d *decodeTarget) choose(at uint64, asked bool) error {
	var best *qcow2.HostRange
	for i := range d.owners {
		r := &d.owners[i]
		if !asked && (best == nil || r.Kind < best.Kind) || asked && best == nil && r.Kind == d.kind {
			best = r
		}
	}
	var err error
	switch {
	case best == nil && len(d.owners) > 0:
		d.asked = "nothing refers to it"
		if kind := d.owners[0].Kind; kind.Referenced() {
			d.asked = fmt.Sprintf("it is %s", kind)
		} else {
			d.owners = nil
		}
		d.table, err = d.rep.img.TableAs(d.kind, at)
	case best == nil: // the walk was interrupted
		return d.rep.ctx.Err()
	case best.Kind == qcow2.HostEncryptionHeader:
		err = &hintError{fmt.Errorf("%#x is the encryption header, in which keys are", at), "'qinspect extensions' decodes it"}
	case !best.Kind.Referenced():
		what := fmt.Errorf("nothing refers to %#x: the cluster is %s", at, best.Kind)
		if len(d.rep.failures.list) > 0 {
			what = fmt.Errorf("nothing that could be read refers to %#x: the cluster looks %s", at, best.Kind)
		}
		err = &hintError{what, "--kind decodes it as what it may have been"}
	case !best.Kind.Metadata():
		err = &hintError{fmt.Errorf("%#x holds guest data (%s), which is not read", at, best.Kind),
			fmt.Sprintf("to see what refers to it: qinspect host --at %#x %s", at, shellFile(d.rep.name))}
	default:
		d.kind = best.Kind
		d.table, err = d.rep.img.TableOf(best)
	}
	return err
}

// facts are the head of the document.
func (d *decodeTarget) facts() []fact {
	t, known := d.table, d.table != nil
	if !known {
		t = &qcow2.Table{Kind: d.kind}
	}
	refcount, ok := d.rep.img.RefcountAt(t.Offset)
	entries := d.rep.img.Entries(t)
	guest, hasGuest := d.rep.img.TableGuestOffset(t)
	return []fact{
		{render.Column{Key: "table", Title: "Table", Kind: render.KindText}, render.Text(d.kind.String())},
		{render.Column{Key: "offset", Title: "Offset", Kind: render.KindAddr}, valueIf(known, render.Addr(t.Offset))},
		{render.Column{Key: "index", Title: "Index", Kind: render.KindUint}, valueIf(known && t.HasReference, render.Uint(t.Index))},
		{render.Column{Key: "guest-offset", Title: "Guest offset", Kind: render.KindAddr}, valueIf(known && hasGuest, render.Addr(guest))},
		{render.Column{Key: "entries", Title: "Entries", Kind: render.KindUint}, valueIf(known && entries > 0, render.Uint(entries))},
		{render.Column{Key: "refcount", Title: "Refcount", Kind: render.KindUint}, valueIf(known && ok, render.Uint(refcount))},
		{render.Column{Key: "references", Title: "References", Kind: render.KindUint, Show: tableIf(d.walked)}, valueIf(d.walked, render.Uint(d.total))},
		{render.Column{Key: "owners", Kind: render.KindRows}, render.Rows(decodeOwnersSection(), d.ownerRows)},
	}
}

// isTable reports whether decode can show a cluster of a kind.
func isTable(k qcow2.HostKind) bool { return slices.Contains(qcow2.TableKinds(), k) }

// decodeHint returns a remark with the command that shows the table at an offset.
func decodeHint(rep *report, remark error, offset uint64) error {
	return &hintError{remark, fmt.Sprintf("to see the entries there: qinspect decode --at %#x %s", offset, shellFile(rep.name))}
}
