package chain

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// RemarkKind is what a [Remark] is about.
type RemarkKind uint8

// The kinds of remarks.
const (
	SnapshotsOverBacking RemarkKind = iota // snapshots read what they do not hold from the current backing file
	FormatUndeclared                       // the format of a layer is not declared
	FormatContradicted                     // declared raw, but a qcow2 image
	ClusterSizesDiffer                     // from the layer below
	SizesDiffer                            // the disk has another size than that of the layer below
	CorruptBit                             // QEMU found the layer corrupt
	DirtyBit                               // refcounts of the layer may be too low
	TwoNames                               // one file by two names
	DataFileDirectory                      // QEMU looks for a data file in the working directory
	EmptyName                              // a backing file without a name: readers differ
	InUse                                  // another program has the layer open for writing, or it changed
	UnsureDependent                        // a file may depend on the base, by a name that is not looked up
)

// RemarkKindNames returns the names of the kinds in their order.
func RemarkKindNames() []string {
	return []string{
		"snapshots-over-backing", "format-undeclared", "format-contradicted", "cluster-sizes-differ", "sizes-differ",
		"corrupt", "dirty", "two-names", "data-file-directory", "empty-name", "in-use", "unsure-dependent",
	}
}

// String returns the name of the kind.
func (k RemarkKind) String() string {
	if names := RemarkKindNames(); int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("unknown-%d", uint8(k))
}

// A Remark is something about a layer that is worth a look, and no damage.
type Remark struct {
	Kind    RemarkKind
	Depth   int
	Message string // in words, with what they quote escaped
}

func (c *Chain) remarkOn(kind RemarkKind, depth int, message string) {
	c.Remarks = append(c.Remarks, Remark{kind, depth, message})
}

// remark adds the remarks about layers and their neighbours.
func (c *Chain) remark() {
	for i, l := range c.Layers {
		if l.Image != nil {
			c.remarkOnImage(l)
		}
		if i > 0 && l.Readable() {
			c.remarkOnPair(c.Layers[i-1], l)
		}
	}
}

// remarkOnImage adds the remarks about one qcow2 image.
func (c *Chain) remarkOnImage(l *Layer) {
	h := l.Image.Header()
	if h.NbSnapshots > 0 && h.BackingFileOffset != 0 && h.BackingFileSize != 0 {
		c.remarkOn(SnapshotsOverBacking, l.Depth, fmt.Sprintf(
			"its snapshots (%d) read what they do not hold from the current backing file: another one, or a rebase, changes them", h.NbSnapshots))
	}
	if h.BackingFileOffset != 0 && h.BackingFileSize == 0 {
		c.remarkOn(EmptyName, l.Depth, "its backing file has an offset and no name: QEMU sees none, other readers see one")
	}
	if h.IncompatibleFeatures&qcow2.Corrupt != 0 {
		c.remarkOn(CorruptBit, l.Depth, "QEMU found it corrupt, and opens it for reading only")
	}
	if h.IncompatibleFeatures&qcow2.Dirty != 0 {
		c.remarkOn(DirtyBit, l.Depth, "it was not closed properly: refcounts may be too low")
	}
	if d := l.DataFile; d != nil && d.Status != NotAllowed && directory(d.Filename) != directory(d.Name) {
		c.remarkOn(DataFileDirectory, l.Depth, fmt.Sprintf("qemu-img would look for the data file %q in the working directory", d.Name))
	}
}

// remarkOnPair adds the remarks about a layer and the one below it.
func (c *Chain) remarkOnPair(l, below *Layer) {
	if l.VirtualSize != below.VirtualSize {
		c.remarkOn(SizesDiffer, l.Depth, fmt.Sprintf("its disk has %d bytes, that of the layer below %d", l.VirtualSize, below.VirtualSize))
	}
	if below.Image == nil {
		return
	}
	g, _ := l.Image.Geometry() // there is one: both were read
	if lower, _ := below.Image.Geometry(); g.ClusterSize != lower.ClusterSize {
		c.remarkOn(ClusterSizesDiffer, l.Depth, fmt.Sprintf("its clusters have %d bytes, those of the layer below %d", g.ClusterSize, lower.ClusterSize))
	}
}

// RemarkOnUse adds remarks about layers that did not hold still: ask when all has
// been read. It leaves out the image itself.
func (c *Chain) RemarkOnUse() {
	for _, l := range c.Layers[1:] {
		if l.Facts == nil {
			continue
		}
		if changed, _ := l.Facts.Changed(); changed {
			c.remarkOn(InUse, l.Depth, "it has changed while it was read: what is said of it may not fit together")
		} else if state, _ := l.Facts.OpenElsewhere(); state == qcow2.ElsewhereWriting {
			c.remarkOn(InUse, l.Depth, "another program has it open for writing: what it has not written yet is missing here")
		}
	}
}
