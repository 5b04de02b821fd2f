package audit

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// virtualSize is the rule that is off without a limit.
const virtualSize ID = "virtual-size"

// maxSparseMetadata is for sparse-claim, in bytes.
const maxSparseMetadata = 64 << 20

// resourceRules are about what the image costs whoever opens or converts it.
func resourceRules() []Rule {
	return []Rule{
		rejects(virtualSize, "the disk is larger than --max-virtual-size", checkVirtualSize).in(ScopeHeader).ofRaw(),
		rejects("l1-claim", "an L1 table is larger than the file, or than QEMU's limit", checkL1Claim),
		rejects("refcount-claim", "the refcount table is larger than the file, or than QEMU's limit", checkRefcountClaim),
		rejects("snapshot-claim", "the snapshot table is larger than the file, or than one of QEMU's limits", checkSnapshotClaim),
		rejects("bitmap-claim", "the bitmap directory or a bitmap table is larger than the file, or than one of QEMU's limits", checkBitmapClaim),
		rejects("extension-claim", "a header extension reaches beyond its place, or is above QEMU's limit", checkExtensionClaim).in(ScopeHeader),
		warns("ratio", "the guest data are more than --max-ratio times the size of the file, once decompressed", checkRatio),
		rejects("compressed-shared", "two entries that one L1 table leads to have the same compressed data", checkCompressedShared),
		rejects("cluster-shared", "one L1 table leads to a cluster of data or to an L2 table twice", checkClusterShared),
		warns("sparse-claim", fmt.Sprintf("more than %d bytes of metadata lie in holes of the file", maxSparseMetadata), checkSparseClaim),
	}
}

func checkVirtualSize(x *examination) ([]Finding, error) {
	n, ok := x.virtualSize()
	limit := x.policy.MaxVirtualSize
	switch {
	case !ok && x.file.Pipe:
		return nil, errors.New("the size of a raw disk in a pipe is not known")
	case !ok:
		return nil, x.openErr
	}
	return failIf(n > limit, func() Finding {
		f := found("the disk has %d bytes, more than %d", n, limit).value(n).limit(limit)
		if x.img != nil {
			f = f.field("size")
		}
		return f
	})
}

// claim returns a finding if a structure of n bytes is larger than the file, or than
// a limit of QEMU.
func (x *examination) claim(what string, n, limit uint64) (Finding, bool) {
	limit = min(limit, uint64(x.size))
	return found("%s claims %d bytes, more than the file or QEMU allows", what, n).value(n).limit(limit), n > limit
}

// entryBytes is the length of an entry of L1 tables and bitmap tables, in bytes.
const entryBytes = 8

func checkL1Claim(x *examination) ([]Finding, error) {
	limit := qcow2.DefaultLimits().L1Bytes
	if f, bad := x.claim("the L1 table", uint64(x.img.Header().L1Size)*entryBytes, limit); bad {
		return only(f.field("l1_size"))
	}
	for s, err := range x.img.Snapshots() {
		if err != nil {
			return nil, err
		}
		if f, bad := x.claim("the L1 table of a snapshot", uint64(s.L1Size)*entryBytes, limit); bad {
			return only(f.at(s.Offset))
		}
	}
	return nil, nil
}

func checkRefcountClaim(x *examination) ([]Finding, error) {
	if _, err := x.img.Geometry(); err != nil {
		return nil, err
	}
	n := uint64(x.img.Header().RefcountTableClusters) * x.g.ClusterSize
	f, bad := x.claim("the refcount table", n, qcow2.DefaultLimits().RefcountTableBytes)
	return failIf(bad, func() Finding { return f.field("refcount_table_clusters") })
}

// claimError returns a finding if an error says that a structure is above a limit or
// reaches beyond the file, and else the error.
func claimError(err error) ([]Finding, error) {
	if errors.Is(err, qcow2.ErrLimit) || errors.Is(err, qcow2.ErrTruncated) {
		return only(ofError(err))
	}
	return nil, err
}

// claimDamage is claimError for what is wrong with a record.
func claimDamage(damage []*qcow2.Error) ([]Finding, error) {
	for _, e := range damage {
		if f, _ := claimError(e); f != nil {
			return f, nil
		}
	}
	return nil, nil
}

func checkSnapshotClaim(x *examination) ([]Finding, error) {
	for s, err := range x.img.Snapshots() {
		if err != nil {
			return claimError(err)
		}
		if f, _ := claimDamage(s.Damage); f != nil {
			return f, nil
		}
	}
	return nil, nil
}

func checkBitmapClaim(x *examination) ([]Finding, error) {
	limit := qcow2.DefaultLimits().BitmapTableEntries * entryBytes
	for b, err := range x.img.Bitmaps() {
		if err != nil {
			return claimError(err)
		}
		if f, _ := claimDamage(b.Damage); f != nil {
			return f, nil
		}
		if f, bad := x.claim("a bitmap table", uint64(b.TableSize)*entryBytes, limit); bad {
			return only(f.at(b.Offset))
		}
	}
	return nil, nil
}

func checkExtensionClaim(x *examination) ([]Finding, error) {
	for e, err := range x.img.Extensions() {
		if errors.Is(err, qcow2.ErrCorrupt) || errors.Is(err, qcow2.ErrTruncated) {
			return only(ofError(err))
		}
		if err != nil {
			return nil, err
		}
		if err := x.img.ExtensionError(e); errors.Is(err, qcow2.ErrLimit) {
			return only(ofError(err))
		}
	}
	return nil, nil
}

func checkRatio(x *examination) ([]Finding, error) {
	u, err := x.usage()
	if err != nil {
		return nil, err
	}
	if x.img.Header().IncompatibleFeatures&qcow2.ExternalDataFile != 0 {
		return nil, nil // they lie in another file
	}
	data := u.Mapped.Bytes - u.Mapped.Zero - u.Mapped.Preallocated
	high, low := bits.Mul64(x.policy.MaxRatio, u.FileSize)
	if high > 0 || data <= low {
		return nil, nil
	}
	ratio := (data-1)/u.FileSize + 1
	return only(found("the disk has %d bytes of data, %d times the size of the file", data, ratio).value(ratio).limit(x.policy.MaxRatio))
}

func checkCompressedShared(x *examination) ([]Finding, error) {
	r, err := x.repeats()
	if err != nil {
		return nil, err
	}
	return repeated(r.Compressed, "compressed clusters have the data of another one")
}

func checkClusterShared(x *examination) ([]Finding, error) {
	r, err := x.repeats()
	if err != nil {
		return nil, err
	}
	return repeated(r.Clusters, "entries lead to a cluster to which another one leads")
}

func repeated(r qcow2.Repeat, what string) ([]Finding, error) {
	return failIf(r.Count > 0, func() Finding { return found("%d %s", r.Count, what).at(r.Offset).value(r.Count) })
}

func checkSparseClaim(x *examination) ([]Finding, error) {
	u, err := x.usage()
	if err != nil {
		return nil, err
	}
	n := uint64(0)
	if u.HasOnDisk {
		n = u.Holes().Metadata
	} else { // as much as there is, at most
		for _, k := range u.Kinds {
			if k.Kind.Metadata() {
				n += k.Bytes
			}
		}
		if n > maxSparseMetadata {
			return nil, errors.New("the system does not tell where the file has holes")
		}
	}
	return failIf(n > maxSparseMetadata, func() Finding {
		return found("%d bytes of metadata lie in holes of the file", n).value(n).limit(maxSparseMetadata)
	})
}
