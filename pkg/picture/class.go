package picture

import "github.com/qinspect/qinspect/pkg/qcow2"

// A Class says what bytes of the file are needed for.
type Class uint8

// The classes. Compressed clusters and zeros keep theirs also where only a snapshot
// refers to them.
const (
	Metadata   Class = iota // header, tables, bitmaps
	Active                  // data of the active image alone
	Shared                  // data of the active image and of snapshots
	Snapshots               // data of snapshots alone
	VMState                 // guest data past the end of the disk
	Compressed              // compressed clusters
	Zeros                   // host clusters that read as zeros
	Free                    // nothing refers to them, and their refcount is 0
	Leaked                  // nothing refers to them, but their refcount is not 0
	Conflict                // references with problems
	Unknown                 // nothing refers to them, and their refcount cannot be read

	// Classes is how many classes there are.
	Classes = iota
)

// String returns the name of the class, as in JSON.
func (c Class) String() string { return shade(c).look().key }

// Letter returns the letter that stands for the class where there are no colours.
func (c Class) Letter() byte { return shade(c).look().letter }

// contents reports whether bytes of the class belong to a guest, so that the length
// of their run matters to it.
func (c Class) contents() bool { return c >= Active && c <= Zeros }

// classOf returns the class of a range of host clusters.
func classOf(r *qcow2.HostRange) Class {
	switch {
	case r.Problems != 0:
		return Conflict
	case r.Kind.Metadata():
		return Metadata
	}
	switch r.Kind {
	case qcow2.HostVMState:
		return VMState
	case qcow2.HostCompressed:
		return Compressed
	case qcow2.HostZeroAllocated:
		return Zeros
	case qcow2.HostLeaked:
		return Leaked
	case qcow2.HostFree:
		return Free
	case qcow2.HostUnknown:
		return Unknown
	}
	switch {
	case r.Shared:
		return Shared
	case r.Reference.Owner == qcow2.OwnerActive:
		return Active
	}
	return Snapshots
}
