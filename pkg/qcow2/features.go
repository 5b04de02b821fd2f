package qcow2

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// IncompatibleFeatures is the header's incompatible_features word: a program
// that does not know a bit must not open the image. Version 2 has none.
type IncompatibleFeatures uint64

// Incompatible feature bits (specification, section "Header").
const (
	Dirty            IncompatibleFeatures = 1 << 0 // refcounts may be too low
	Corrupt          IncompatibleFeatures = 1 << 1 // structures may be broken
	ExternalDataFile IncompatibleFeatures = 1 << 2 // guest data lies in another file
	CompressionBit   IncompatibleFeatures = 1 << 3 // compression_type is not deflate
	ExtendedL2       IncompatibleFeatures = 1 << 4 // L2 entries are 16 bytes, with subclusters

	knownIncompatible = Dirty | Corrupt | ExternalDataFile | CompressionBit | ExtendedL2
)

// CompatibleFeatures is the header's compatible_features word: a program may
// ignore the bits that it does not know. Version 2 has none.
type CompatibleFeatures uint64

// LazyRefcounts is compatible feature bit 0: refcounts may be updated late,
// under cover of the [Dirty] bit.
const LazyRefcounts CompatibleFeatures = 1 << 0

// AutoclearFeatures is the header's autoclear_features word: a program that
// does not know a bit clears it when it writes. Version 2 has none.
type AutoclearFeatures uint64

// Autoclear feature bits (specification, section "Header").
const (
	BitmapsConsistent AutoclearFeatures = 1 << 0 // the bitmaps extension is valid
	RawExternalData   AutoclearFeatures = 1 << 1 // the external data file is a raw image by itself
)

// FeatureKind is which of the three feature words a [FeatureName] is about.
type FeatureKind uint8

// The feature words, as the feature name table numbers them.
const (
	Incompatible FeatureKind = 0
	Compatible   FeatureKind = 1
	Autoclear    FeatureKind = 2
)

var featureKindNames = [...]string{"incompatible", "compatible", "autoclear"}

// String returns the word's name, or "kind-N" for a number that the
// specification does not define.
func (k FeatureKind) String() string { return nameOf(featureKindNames[:], k, "kind-") }

// The names of the known bits, lowest first.
var featureBitNames = [...][]string{
	Incompatible: {"dirty", "corrupt", "data-file", "compression-type", "extended-l2"},
	Compatible:   {"lazy-refcounts"},
	Autoclear:    {"bitmaps", "data-file-raw"},
}

// A FeatureName is one record of an image's own feature name table
// (specification, section "Feature name table").
type FeatureName struct {
	Kind FeatureKind
	Bit  uint8 // 0 to 63; larger numbers name nothing
	// Name is what the image calls the bit: arbitrary bytes, at most 46.
	Name string
}

// Unknown returns the bits that this package does not know. While there are
// any, no mapping, refcount or usage of the image can be trusted.
func (f IncompatibleFeatures) Unknown() IncompatibleFeatures { return f &^ knownIncompatible }

// Unknown returns the bits that this package does not know.
func (f CompatibleFeatures) Unknown() CompatibleFeatures { return f &^ LazyRefcounts }

// Unknown returns the bits that this package does not know.
func (f AutoclearFeatures) Unknown() AutoclearFeatures {
	return f &^ (BitmapsConsistent | RawExternalData)
}

// Names returns the names of the bits that are set, lowest bit first. A bit unknown
// to this package has its name in table, the image's own feature name table
// (arbitrary bytes), else "bit-N": no bit is ever left out.
func (f IncompatibleFeatures) Names(table []FeatureName) []string {
	return featureNames(Incompatible, uint64(f), table)
}

// Names is like [IncompatibleFeatures.Names].
func (f CompatibleFeatures) Names(table []FeatureName) []string {
	return featureNames(Compatible, uint64(f), table)
}

// Names is like [IncompatibleFeatures.Names].
func (f AutoclearFeatures) Names(table []FeatureName) []string {
	return featureNames(Autoclear, uint64(f), table)
}

// String returns the names of the bits joined by commas.
func (f IncompatibleFeatures) String() string { return strings.Join(f.Names(nil), ",") }

// String returns the names of the bits joined by commas.
func (f CompatibleFeatures) String() string { return strings.Join(f.Names(nil), ",") }

// String returns the names of the bits joined by commas.
func (f AutoclearFeatures) String() string { return strings.Join(f.Names(nil), ",") }

func featureNames(kind FeatureKind, word uint64, table []FeatureName) []string {
	var names []string
	for bit := range setBits(word) {
		names = append(names, featureName(kind, bit, table))
	}
	return names
}

func featureName(kind FeatureKind, bit int, table []FeatureName) string {
	if known := featureBitNames[kind]; bit < len(known) {
		return known[bit]
	}
	for _, n := range table {
		if n.Kind == kind && int(n.Bit) == bit && n.Name != "" && !isKnownName(n.Name) {
			return n.Name
		}
	}
	return fmt.Sprintf("bit-%d", bit)
}

// quotedList returns names, which may come from the image, for an error.
func quotedList(names []string) string {
	return strings.Trim(fmt.Sprintf("%q", names), "[]")
}

// isKnownName reports whether a name is that of a known bit. An image cannot give
// it to another bit.
func isKnownName(name string) bool {
	return slices.ContainsFunc(featureBitNames[:], func(known []string) bool { return slices.Contains(known, name) })
}

// setBits yields the numbers of the bits that are set in word, lowest first.
func setBits(word uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; word != 0; word &= word - 1 {
			if !yield(bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// nameOf returns names[n], or unknown followed by n if there is none, so that no
// value found in an image is ever without a name.
func nameOf[T ~uint8 | ~uint32](names []string, n T, unknown string) string {
	if uint64(n) < uint64(len(names)) {
		return names[n]
	}
	return fmt.Sprintf("%s%d", unknown, n)
}
