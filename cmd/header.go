package cmd

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// headerSource is what the facts of the header document come from.
type headerSource struct {
	*qcow2.Header
	img      *qcow2.Image
	file     File
	name     string // of the image, as the user gave it
	geometry qcow2.Geometry
	known    bool // there is a geometry
}

func newHeaderSource(rep *report) *headerSource {
	h := &headerSource{Header: rep.img.Header(), img: rep.img, file: rep.file, name: rep.name}
	var err error
	h.geometry, err = rep.img.Geometry()
	h.known = err == nil
	return h
}

// facts returns the facts of the header document in the order of their keys.
func (h *headerSource) facts() []fact {
	return slices.Concat(h.imageFacts(), h.fileFacts(), h.flagFacts(), h.tableFacts(), h.featureFacts(), h.qemuFacts())
}

// imageFacts are about the image as a whole.
func (h *headerSource) imageFacts() []fact {
	return []fact{
		{render.Column{Key: "format", Title: "Format", Kind: render.KindText}, render.Text("qcow2")},
		{render.Column{Key: "version", Title: "Version", Kind: render.KindUint}, render.Uint(uint64(h.Version))},
		{render.Column{Key: "compat", Title: "Compat", Kind: render.KindText}, render.Text(h.Compat())},
		{render.Column{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize}, render.Size(h.VirtualSize())},
		{render.Column{Key: "file-size", Title: "File size", Kind: render.KindSize}, render.Size(uint64(h.img.Size()))},
		{render.Column{Key: "actual-size", Title: "Allocated on disk", Kind: render.KindSize}, allocatedSize(h.file)},
		{render.Column{Key: "cluster-bits", Title: "Cluster bits", Kind: render.KindUint}, render.Uint(uint64(h.ClusterBits))},
		{render.Column{Key: "cluster-size", Title: "Cluster size", Kind: render.KindSize}, h.ifKnown(render.Size(h.geometry.ClusterSize))},
		{render.Column{Key: "subcluster-size", Title: "Subcluster size", Kind: render.KindSize}, h.subclusterSize()},
		{render.Column{Key: "clusters", Title: "Guest clusters", Kind: render.KindUint}, h.ifKnown(render.Uint(h.geometry.Clusters))},
		{render.Column{Key: "host-clusters", Title: "Host clusters", Kind: render.KindUint}, h.ifKnown(render.Uint(h.geometry.HostClusters))},
		{render.Column{Key: "header-length", Title: "Header length", Kind: render.KindSize}, h.ifThere("header_length", render.Size(uint64(h.HeaderLength)))},
	}
}

// fileFacts are about other files, and about what guest data look like.
func (h *headerSource) fileFacts() []fact {
	backing, hasBacking := "", false
	if h.known {
		backing, hasBacking, _ = h.img.BackingFile() // reportHeader has its error
	}
	return []fact{
		{render.Column{Key: "backing-filename", Title: "Backing file", Kind: render.KindImageText}, imageText(backing, hasBacking)},
		{render.Column{Key: "full-backing-filename", Title: "Full backing file", Kind: render.KindImageText},
			imageText(qcow2.FullBackingName(h.name, backing), hasBacking)},
		{render.Column{Key: "backing-filename-format", Title: "Backing format", Kind: render.KindImageText}, imageText(h.img.BackingFormat())},
		{render.Column{Key: "backing-file-offset", Title: "Backing file offset", Kind: render.KindOffset}, offsetOrNull(h.BackingFileOffset)},
		{render.Column{Key: "data-file", Title: "Data file", Kind: render.KindImageText}, imageText(h.img.DataFile())},
		{render.Column{Key: "data-file-raw", Title: "Data file is raw", Kind: render.KindBool},
			h.ifThere("autoclear_features", render.Bool(h.AutoclearFeatures&qcow2.RawExternalData != 0))},
		{render.Column{Key: "encrypted", Title: "Encrypted", Kind: render.KindBool}, render.Bool(h.CryptMethod != qcow2.CryptNone)},
		{render.Column{Key: "encrypt.format", Title: "Encryption", Kind: render.KindText}, h.encryptFormat()},
		{render.Column{Key: "compression-type", Title: "Compression", Kind: render.KindText},
			h.ifThere("header_length", render.Text(h.CompressionType.String()))},
		{render.Column{Key: "refcount-bits", Title: "Refcount bits", Kind: render.KindUint}, h.ifKnown(render.Uint(h.geometry.RefcountBits))},
		{render.Column{Key: "refcount-block-entries", Title: "Refcount block entries", Kind: render.KindUint},
			h.ifKnown(render.Uint(h.geometry.RefcountBlockEntries))},
	}
}

// flagFacts are single bits of the feature words.
func (h *headerSource) flagFacts() []fact {
	incompatible := func(bit qcow2.IncompatibleFeatures) render.Value {
		return h.ifThere("incompatible_features", render.Bool(h.IncompatibleFeatures&bit != 0))
	}
	return []fact{
		{render.Column{Key: "dirty-flag", Title: "Dirty", Kind: render.KindBool, Tones: caution()}, incompatible(qcow2.Dirty)},
		{render.Column{Key: "corrupt", Title: "Corrupt", Kind: render.KindBool, Tones: alarm()}, incompatible(qcow2.Corrupt)},
		{render.Column{Key: "lazy-refcounts", Title: "Lazy refcounts", Kind: render.KindBool},
			h.ifThere("compatible_features", render.Bool(h.CompatibleFeatures&qcow2.LazyRefcounts != 0))},
		{render.Column{Key: "extended-l2", Title: "Extended L2 entries", Kind: render.KindBool}, incompatible(qcow2.ExtendedL2)},
	}
}

// tableFacts are about the tables that the header points to.
func (h *headerSource) tableFacts() []fact {
	return []fact{
		{render.Column{Key: "l1-table.offset", Title: "L1 table", Kind: render.KindAddr}, render.Addr(h.L1TableOffset)},
		{render.Column{Key: "l1-table.entries", Title: "L1 table entries", Kind: render.KindUint}, render.Uint(uint64(h.L1Size))},
		{render.Column{Key: "l1-table.expected-entries", Title: "L1 entries expected", Kind: render.KindUint}, h.ifKnown(render.Uint(h.geometry.L1Entries))},
		{render.Column{Key: "l2-entries", Title: "L2 table entries", Kind: render.KindUint}, h.ifKnown(render.Uint(h.geometry.L2Entries))},
		{render.Column{Key: "refcount-table.offset", Title: "Refcount table", Kind: render.KindAddr}, render.Addr(h.RefcountTableOffset)},
		{render.Column{Key: "refcount-table.clusters", Title: "Refcount table clusters", Kind: render.KindUint},
			render.Uint(uint64(h.RefcountTableClusters))},
		{render.Column{Key: "refcount-table.entries", Title: "Refcount table entries", Kind: render.KindUint},
			h.ifKnown(render.Uint(h.geometry.RefcountTableEntries))},
		{render.Column{Key: "snapshot-table.offset", Title: "Snapshot table", Kind: render.KindAddr}, h.ifAny(render.Addr(h.SnapshotsOffset))},
		{render.Column{Key: "snapshot-table.count", Title: "Snapshots", Kind: render.KindUint}, render.Uint(uint64(h.NbSnapshots))},
		{render.Column{Key: "l2-cache-size", Title: "L2 cache for all tables", Kind: render.KindSize}, h.ifKnown(render.Size(h.geometry.L2CacheSize))},
		{render.Column{Key: "vm-state-offset", Title: "VM state offset", Kind: render.KindAddr}, h.ifKnown(render.Addr(h.geometry.VMStateOffset))},
	}
}

// featureFacts are the feature words.
func (h *headerSource) featureFacts() []fact {
	names := h.img.FeatureNames()
	return []fact{
		{render.Column{Key: "incompatible-features", Title: "Incompatible features", Kind: render.KindBits,
			Names: qcow2.IncompatibleFeatures(allBits).Names(names)},
			h.ifThere("incompatible_features", render.Bits(uint64(h.IncompatibleFeatures)))},
		{render.Column{Key: "compatible-features", Title: "Compatible features", Kind: render.KindBits,
			Names: qcow2.CompatibleFeatures(allBits).Names(names)},
			h.ifThere("compatible_features", render.Bits(uint64(h.CompatibleFeatures)))},
		{render.Column{Key: "autoclear-features", Title: "Autoclear features", Kind: render.KindBits,
			Names: qcow2.AutoclearFeatures(allBits).Names(names)},
			h.ifThere("autoclear_features", render.Bits(uint64(h.AutoclearFeatures)))},
	}
}

// qemuFacts are what the image needs of QEMU.
func (h *headerSource) qemuFacts() []fact {
	need, ok := h.img.QEMU()
	return []fact{
		{render.Column{Key: "needs.qemu", Title: "Needs QEMU", Kind: render.KindText}, valueIf(need.Version != "", render.Text(need.Version))},
		{render.Column{Key: "needs.because", Title: "Because of", Kind: render.KindList}, valueIf(ok, render.List(need.Because))},
	}
}

// ifThere returns the value of a field of version 3, null if the file ends before
// the field. In version 2 the field counts as 0.
func (h *headerSource) ifThere(field string, v render.Value) render.Value {
	return valueIf(h.Version == 2 || h.Has(field), v)
}

// ifKnown returns a value of the geometry, null if there is none.
func (h *headerSource) ifKnown(v render.Value) render.Value { return valueIf(h.known, v) }

// ifAny returns where the snapshot table lies, null without snapshots. The header
// can keep the offset of a table that is gone.
func (h *headerSource) ifAny(v render.Value) render.Value { return valueIf(h.NbSnapshots > 0, v) }

// subclusterSize returns null without subclusters.
func (h *headerSource) subclusterSize() render.Value {
	extended := h.IncompatibleFeatures&qcow2.ExtendedL2 != 0
	return valueIf(h.known && extended, render.Size(h.geometry.SubclusterSize))
}

// encryptFormat returns null if nothing is encrypted.
func (h *headerSource) encryptFormat() render.Value {
	return valueIf(h.CryptMethod != qcow2.CryptNone, render.Text(h.CryptMethod.String()))
}

// allBits is a feature word with every bit set: its names are those of each.
const allBits = ^uint64(0)

// Columns of the fields section.
const (
	fieldName = iota
	fieldOffset
	fieldSize
	fieldValue
	fieldHex
)

// fieldsSection declares the raw header.
func fieldsSection() *render.Section {
	return &render.Section{
		Key:    "fields",
		Title:  "Header fields",
		Layout: render.LayoutList,
		Label:  "name",
		Columns: []render.Column{
			fieldName:   {Key: "name", Title: "FIELD", Kind: render.KindText},
			fieldOffset: {Key: "offset", Title: "OFFSET", Kind: render.KindOffset},
			fieldSize:   {Key: "size", Title: "BYTES", Kind: render.KindUint},
			fieldValue:  {Key: "value", Title: "VALUE", Kind: render.KindUint},
			fieldHex:    {Key: "hex", Title: "HEX", Kind: render.KindText, Drop: 1},
		},
	}
}

// listFields pushes the fields, and then the bytes that belong to no known field.
func listFields(rep *report, h *qcow2.Header) error {
	s := fieldsSection()
	rep.Section(s)
	c := make([]render.Value, len(s.Columns))
	for f, v := range h.Fields() {
		c[fieldName], c[fieldOffset], c[fieldSize] = render.Text(f.Name), render.Offset(uint64(f.Offset)), render.Uint(uint64(f.Size))
		c[fieldValue], c[fieldHex] = render.Uint(v), render.Text(fmt.Sprintf("%0*x", 2*f.Size, v))
		if err := rep.Row(c); err != nil {
			return err
		}
	}
	n := uint64(len(h.Rest))
	if n == 0 {
		return nil
	}
	c[fieldName], c[fieldOffset], c[fieldSize] = render.Text("unknown"), render.Offset(qcow2.KnownHeaderLength), render.Uint(n)
	c[fieldValue], c[fieldHex] = render.Null, render.Text(preview(h.Rest))
	return rep.Row(c)
}

func (a *app) newHeaderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "header IMAGE...",
		Short: "Show every header field, the features by name, derived sizes",
		Long: `Show the image header: every field with its byte offset, the feature bits by
name (the image's own name where qinspect knows none), backing and data file,
and what follows from the fields, such as the size of an L2 cache that covers
the whole disk, and the oldest QEMU that opens the image for writing.

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
	addJobs(cmd, 1)
	return cmd
}

func runHeader(rep *report) error {
	reportHeader(rep)
	h := newHeaderSource(rep)
	rep.facts(&render.Section{ClusterBits: h.geometry.ClusterBits}, h.facts()...)
	return listFields(rep, h.Header)
}

// reportHeader records what is wrong with the header and its extensions.
func reportHeader(rep *report) {
	for _, e := range rep.img.HeaderErrors() {
		rep.damaged(e)
	}
	if _, err := rep.img.Geometry(); err != nil {
		return // HeaderErrors returns the same error, and where extensions end is unknown
	}
	for _, err := range rep.img.Extensions() {
		if err != nil {
			rep.damaged(err)
		}
	}
}
