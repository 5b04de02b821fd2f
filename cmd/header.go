package cmd

import (
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// headerFacts is what the header command knows of an image.
type headerFacts struct {
	*qcow2.Header
	img         *qcow2.File
	geometry    qcow2.Geometry
	known       bool // the geometry is
	backing     string
	hasBacking  bool
	fullBacking string
}

// A headerFact is one key of the header document: how it is shown, and where
// it comes from.
type headerFact struct {
	render.Column
	value func(*headerFacts) render.Value
}

// headerColumns returns the keys of the header document in their order. names
// is the image's own feature name table.
func headerColumns(names []qcow2.FeatureName) []headerFact {
	return slices.Concat(imageFacts(), fileFacts(), flagFacts(), tableFacts(), featureFacts(names))
}

// imageFacts are about the image as a whole.
func imageFacts() []headerFact {
	return []headerFact{
		{render.Column{Key: "format", Title: "Format", Kind: render.KindText},
			func(*headerFacts) render.Value { return render.Text("qcow2") }},
		{render.Column{Key: "version", Title: "Version", Kind: render.KindUint},
			func(f *headerFacts) render.Value { return render.Uint(uint64(f.Version)) }},
		{render.Column{Key: "compat", Title: "Compat", Kind: render.KindText},
			func(f *headerFacts) render.Value { return render.Text(f.Compat()) }},
		{render.Column{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize},
			func(f *headerFacts) render.Value { return render.Size(f.VirtualSize()) }},
		{render.Column{Key: "file-size", Title: "File size", Kind: render.KindSize},
			func(f *headerFacts) render.Value { return render.Size(uint64(f.img.Size())) }},
		{render.Column{Key: "actual-size", Title: "Allocated on disk", Kind: render.KindSize}, allocatedSize},
		{render.Column{Key: "cluster-bits", Title: "Cluster bits", Kind: render.KindUint},
			func(f *headerFacts) render.Value { return render.Uint(uint64(f.ClusterBits)) }},
		{render.Column{Key: "cluster-size", Title: "Cluster size", Kind: render.KindSize},
			ifKnown(func(f *headerFacts) render.Value { return render.Size(f.geometry.ClusterSize) })},
		{render.Column{Key: "subcluster-size", Title: "Subcluster size", Kind: render.KindSize},
			ifKnown(subclusterSize)},
		{render.Column{Key: "clusters", Title: "Guest clusters", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.Clusters) })},
		{render.Column{Key: "host-clusters", Title: "Host clusters", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.HostClusters) })},
		{render.Column{Key: "header-length", Title: "Header length", Kind: render.KindSize},
			ifThere("header_length", func(f *headerFacts) render.Value { return render.Size(uint64(f.HeaderLength)) })},
	}
}

// fileFacts are about other files, and about what guest data look like.
func fileFacts() []headerFact {
	return []headerFact{
		{render.Column{Key: "backing-filename", Title: "Backing file", Kind: render.KindImageText},
			func(f *headerFacts) render.Value { return imageText(f.backing, f.hasBacking) }},
		{render.Column{Key: "full-backing-filename", Title: "Full backing file", Kind: render.KindImageText},
			func(f *headerFacts) render.Value { return imageText(f.fullBacking, f.hasBacking) }},
		{render.Column{Key: "backing-filename-format", Title: "Backing format", Kind: render.KindImageText},
			func(f *headerFacts) render.Value { return imageText(f.img.BackingFormat()) }},
		{render.Column{Key: "backing-file-offset", Title: "Backing file offset", Kind: render.KindOffset},
			func(f *headerFacts) render.Value { return offsetOrNull(f.BackingFileOffset) }},
		{render.Column{Key: "data-file", Title: "Data file", Kind: render.KindImageText},
			func(f *headerFacts) render.Value { return imageText(f.img.DataFile()) }},
		{render.Column{Key: "data-file-raw", Title: "Data file is raw", Kind: render.KindBool},
			ifThere("autoclear_features", func(f *headerFacts) render.Value {
				return render.Bool(f.AutoclearFeatures&qcow2.RawExternalData != 0)
			})},
		{render.Column{Key: "encrypted", Title: "Encrypted", Kind: render.KindBool},
			func(f *headerFacts) render.Value { return render.Bool(f.CryptMethod != qcow2.CryptNone) }},
		{render.Column{Key: "encrypt.format", Title: "Encryption", Kind: render.KindText}, encryptFormat},
		{render.Column{Key: "compression-type", Title: "Compression", Kind: render.KindText},
			ifThere("header_length", func(f *headerFacts) render.Value { return render.Text(f.CompressionType.String()) })},
		{render.Column{Key: "refcount-bits", Title: "Refcount bits", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.RefcountBits) })},
		{render.Column{Key: "refcount-block-entries", Title: "Refcount block entries", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.RefcountBlockEntries) })},
	}
}

// flagFacts are single bits of the feature words.
func flagFacts() []headerFact {
	incompatible := func(bit qcow2.IncompatibleFeatures) func(*headerFacts) render.Value {
		return ifThere("incompatible_features", func(f *headerFacts) render.Value {
			return render.Bool(f.IncompatibleFeatures&bit != 0)
		})
	}
	return []headerFact{
		{render.Column{Key: "dirty-flag", Title: "Dirty", Kind: render.KindBool, Tones: caution()}, incompatible(qcow2.Dirty)},
		{render.Column{Key: "corrupt", Title: "Corrupt", Kind: render.KindBool, Tones: alarm()}, incompatible(qcow2.Corrupt)},
		{render.Column{Key: "lazy-refcounts", Title: "Lazy refcounts", Kind: render.KindBool},
			ifThere("compatible_features", func(f *headerFacts) render.Value {
				return render.Bool(f.CompatibleFeatures&qcow2.LazyRefcounts != 0)
			})},
		{render.Column{Key: "extended-l2", Title: "Extended L2 entries", Kind: render.KindBool}, incompatible(qcow2.ExtendedL2)},
	}
}

// tableFacts are about the tables that the header points to.
func tableFacts() []headerFact {
	return []headerFact{
		{render.Column{Key: "l1-table.offset", Title: "L1 table", Kind: render.KindAddr},
			func(f *headerFacts) render.Value { return render.Addr(f.L1TableOffset) }},
		{render.Column{Key: "l1-table.entries", Title: "L1 table entries", Kind: render.KindUint},
			func(f *headerFacts) render.Value { return render.Uint(uint64(f.L1Size)) }},
		{render.Column{Key: "l1-table.expected-entries", Title: "L1 entries expected", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.L1Entries) })},
		{render.Column{Key: "l2-entries", Title: "L2 table entries", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.L2Entries) })},
		{render.Column{Key: "refcount-table.offset", Title: "Refcount table", Kind: render.KindAddr},
			func(f *headerFacts) render.Value { return render.Addr(f.RefcountTableOffset) }},
		{render.Column{Key: "refcount-table.clusters", Title: "Refcount table clusters", Kind: render.KindUint},
			func(f *headerFacts) render.Value { return render.Uint(uint64(f.RefcountTableClusters)) }},
		{render.Column{Key: "refcount-table.entries", Title: "Refcount table entries", Kind: render.KindUint},
			ifKnown(func(f *headerFacts) render.Value { return render.Uint(f.geometry.RefcountTableEntries) })},
		{render.Column{Key: "snapshot-table.offset", Title: "Snapshot table", Kind: render.KindAddr},
			ifAny(func(f *headerFacts) render.Value { return render.Addr(f.SnapshotsOffset) })},
		{render.Column{Key: "snapshot-table.count", Title: "Snapshots", Kind: render.KindUint},
			func(f *headerFacts) render.Value { return render.Uint(uint64(f.NbSnapshots)) }},
		{render.Column{Key: "l2-cache-size", Title: "L2 cache for all tables", Kind: render.KindSize},
			ifKnown(func(f *headerFacts) render.Value { return render.Size(f.geometry.L2CacheSize) })},
		{render.Column{Key: "vm-state-offset", Title: "VM state offset", Kind: render.KindAddr},
			ifKnown(func(f *headerFacts) render.Value { return render.Addr(f.geometry.VMStateOffset) })},
	}
}

// featureFacts are the feature words.
func featureFacts(names []qcow2.FeatureName) []headerFact {
	return []headerFact{
		{render.Column{Key: "incompatible-features", Title: "Incompatible features", Kind: render.KindBits,
			Names: qcow2.IncompatibleFeatures(allBits).Names(names)},
			ifThere("incompatible_features", func(f *headerFacts) render.Value { return render.Bits(uint64(f.IncompatibleFeatures)) })},
		{render.Column{Key: "compatible-features", Title: "Compatible features", Kind: render.KindBits,
			Names: qcow2.CompatibleFeatures(allBits).Names(names)},
			ifThere("compatible_features", func(f *headerFacts) render.Value { return render.Bits(uint64(f.CompatibleFeatures)) })},
		{render.Column{Key: "autoclear-features", Title: "Autoclear features", Kind: render.KindBits,
			Names: qcow2.AutoclearFeatures(allBits).Names(names)},
			ifThere("autoclear_features", func(f *headerFacts) render.Value { return render.Bits(uint64(f.AutoclearFeatures)) })},
	}
}

// ifThere is for what a field of version 3 tells: null where the file ends
// before it. In version 2 it counts as 0.
func ifThere(field string, value func(*headerFacts) render.Value) func(*headerFacts) render.Value {
	return func(f *headerFacts) render.Value {
		if f.Version > 2 && !f.Has(field) {
			return render.Null
		}
		return value(f)
	}
}

// ifKnown is for what the geometry tells: null while there is none.
func ifKnown(value func(*headerFacts) render.Value) func(*headerFacts) render.Value {
	return func(f *headerFacts) render.Value {
		if !f.known {
			return render.Null
		}
		return value(f)
	}
}

// ifAny is for where snapshots lie: null where there are none. The header can
// have the offset of a table that is no more.
func ifAny(value func(*headerFacts) render.Value) func(*headerFacts) render.Value {
	return func(f *headerFacts) render.Value {
		if f.NbSnapshots == 0 {
			return render.Null
		}
		return value(f)
	}
}

// allBits is a feature word with every bit set: its names are those of each.
const allBits = ^uint64(0)

// fieldsSection declares the raw header.
func fieldsSection() *render.Section {
	return &render.Section{
		Key:    "fields",
		Title:  "Header fields",
		Layout: render.LayoutList,
		Label:  "name",
		Columns: []render.Column{
			{Key: "name", Title: "FIELD", Kind: render.KindText},
			{Key: "offset", Title: "OFFSET", Kind: render.KindOffset},
			{Key: "size", Title: "BYTES", Kind: render.KindUint},
			{Key: "value", Title: "VALUE", Kind: render.KindUint},
			{Key: "hex", Title: "HEX", Kind: render.KindText, Drop: 1},
		},
	}
}

func (a *app) newHeaderCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "header IMAGE...",
		Short: "Show every header field, the features by name, derived sizes",
		Long: `Show the image header: every field with its byte offset, the feature bits by
name (the image's own name where qinspect knows none), backing and data file,
and what follows from the fields, such as the size of an L2 cache that covers
the whole disk.

Use it to see what an image is and what it needs: its disk size, its features,
its backing file; or why QEMU refuses to open it.

A damaged header is shown as far as it can be read; what is wrong with it goes
to standard error.

Exit status: 0 fine, 1 nothing could be shown, 2 the header is damaged.`,
		Example: `  $ qinspect header disk.qcow2
  $ qinspect header -o json disk.qcow2 | jq '."virtual-size"'
  $ qinspect header -o ndjson *.qcow2 | jq -r '[.filename, ."backing-filename"] | @tsv'`,
		SuggestFor: []string{"info"},
		Args:       images,
		RunE:       a.load(runHeader),

		ValidArgsFunction: completeImages,
	}
}

func runHeader(rep *report) error {
	s, row := headerSection(rep)
	rep.Section(s)
	if err := rep.Row(row); err != nil {
		return err
	}
	rep.Section(fieldsSection())
	for row := range fieldRows(rep.img.Header()) {
		if err := rep.Row(row); err != nil {
			return err
		}
	}
	return nil
}

// headerSection declares the header document, less the fields, and returns its
// row.
func headerSection(rep *report) (*render.Section, []render.Value) {
	f := newHeaderFacts(rep)
	facts := headerColumns(rep.img.FeatureNames())
	s := &render.Section{Layout: render.LayoutSingle, ClusterBits: f.geometry.ClusterBits}
	row := make([]render.Value, len(facts))
	for i, fact := range facts {
		s.Columns = append(s.Columns, fact.Column)
		row[i] = fact.value(f)
	}
	return s, row
}

// newHeaderFacts gathers the facts, and reports what is wrong with the
// sections that they come from.
func newHeaderFacts(rep *report) *headerFacts {
	f := &headerFacts{Header: rep.img.Header(), img: rep.img}
	for _, e := range rep.img.HeaderErrors() {
		rep.damaged(e)
	}
	var err error
	if f.geometry, err = rep.img.Geometry(); err != nil {
		return f // HeaderErrors has said it
	}
	f.known = true
	for _, err := range rep.img.Extensions() {
		if err != nil {
			rep.damaged(err)
		}
	}
	f.backing, f.hasBacking, _ = rep.img.BackingFile() // HeaderErrors has its error
	f.fullBacking = qcow2.FullBackingName(rep.name, f.backing)
	return f
}

// fieldRows yields the raw header fields, and then the bytes that belong to no
// known field.
func fieldRows(h *qcow2.Header) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		for f, v := range h.Fields() {
			if !yield([]render.Value{
				render.Text(f.Name), render.Offset(uint64(f.Offset)), render.Uint(uint64(f.Size)),
				render.Uint(v), render.Text(fmt.Sprintf("%0*x", 2*f.Size, v)),
			}) {
				return
			}
		}
		if n := len(h.Rest); n > 0 {
			yield([]render.Value{
				render.Text("unknown"), render.Offset(qcow2.KnownHeaderLength), render.Uint(uint64(n)),
				render.Null, render.Text(preview(h.Rest)),
			})
		}
	}
}

func allocatedSize(f *headerFacts) render.Value {
	if n, ok := f.img.AllocatedBytes(); ok {
		return render.Size(uint64(n))
	}
	return render.Null
}

// subclusterSize is null without subclusters.
func subclusterSize(f *headerFacts) render.Value {
	if f.IncompatibleFeatures&qcow2.ExtendedL2 == 0 {
		return render.Null
	}
	return render.Size(f.geometry.SubclusterSize)
}

func encryptFormat(f *headerFacts) render.Value {
	if f.CryptMethod == qcow2.CryptNone {
		return render.Null
	}
	return render.Text(f.CryptMethod.String())
}
