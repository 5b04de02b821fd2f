package audit

import (
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// headerRules are about what the header says of the image itself.
func headerRules() []Rule {
	return []Rule{
		rejects("unknown-incompatible", "an incompatible feature bit is not known", checkUnknownIncompatible).in(ScopeHeader),
		notes("unknown-compatible", "a compatible feature bit is not known", checkUnknownCompatible).in(ScopeHeader),
		notes("unknown-autoclear", "an autoclear feature bit is not known", checkUnknownAutoclear).in(ScopeHeader),
		notes("unknown-extension", "a header extension is not known", checkUnknownExtension).in(ScopeHeader),
		rejects("header-invalid", "a header field violates the specification, is above one of QEMU's limits, or contradicts another", checkHeaderInvalid).in(ScopeHeader),
		rejects("compression-unknown", "the compression type is neither zlib nor zstd", checkCompressionUnknown).in(ScopeHeader),
		rejects("corrupt-bit", "the corrupt bit is set", checkCorruptBit).in(ScopeHeader),
		warns("dirty-bit", "the dirty bit is set: the image was not closed", checkDirtyBit).in(ScopeHeader),
	}
}

func checkUnknownIncompatible(x *examination) ([]Finding, error) {
	unknown := x.img.Header().IncompatibleFeatures.Unknown()
	return x.unknownBits(uint64(unknown), "incompatible", unknown.Names(x.img.FeatureNames()))
}

func checkUnknownCompatible(x *examination) ([]Finding, error) {
	unknown := x.img.Header().CompatibleFeatures.Unknown()
	return x.unknownBits(uint64(unknown), "compatible", unknown.Names(x.img.FeatureNames()))
}

func checkUnknownAutoclear(x *examination) ([]Finding, error) {
	unknown := x.img.Header().AutoclearFeatures.Unknown()
	return x.unknownBits(uint64(unknown), "autoclear", unknown.Names(x.img.FeatureNames()))
}

// unknownBits fails if bits of a word of features are not known; names are theirs.
func (x *examination) unknownBits(bits uint64, word string, names []string) ([]Finding, error) {
	return failIf(bits != 0, func() Finding {
		return found("%s features are not known: %#x", word, bits).field(word + "_features").named(strings.Join(names, ","))
	})
}

func checkUnknownExtension(x *examination) ([]Finding, error) {
	var first qcow2.Extension
	n := uint64(0)
	for e, err := range x.img.Extensions() {
		if err != nil {
			return nil, err
		}
		if e.Type.String() == "unknown" {
			if n++; n == 1 {
				first = e
			}
		}
	}
	return failIf(n > 0, func() Finding {
		return found("%d of the header extensions are not known; the first has type 0x%08x", n, uint32(first.Type)).
			at(first.Offset).over(uint64(len(first.Data)) + 8).value(n)
	})
}

func checkHeaderInvalid(x *examination) ([]Finding, error) {
	var all []Finding
	for _, e := range x.img.HeaderErrors() {
		all = append(all, ofError(e))
	}
	return all, nil
}

func checkCompressionUnknown(x *examination) ([]Finding, error) {
	kind := x.img.Header().CompressionType
	return failIf(kind > qcow2.CompressionZstd, func() Finding {
		return found("compression type %d is not known", uint8(kind)).field("compression_type").value(uint64(kind))
	})
}

func checkCorruptBit(x *examination) ([]Finding, error) {
	return failIf(x.img.Header().IncompatibleFeatures&qcow2.Corrupt != 0, func() Finding {
		return found("the corrupt bit is set: QEMU found damage").field("incompatible_features")
	})
}

func checkDirtyBit(x *examination) ([]Finding, error) {
	return failIf(x.img.Header().IncompatibleFeatures&qcow2.Dirty != 0, func() Finding {
		return found("the dirty bit is set: the image was not closed, and QEMU repairs it when it opens it for writing").field("incompatible_features")
	})
}
