// Package qcow2 reads the metadata of qcow2 disk images, versions 2 and 3,
// healthy or damaged: header, header extensions, snapshots, the mapping of guest
// addresses, refcounts, bitmaps. It follows the published specification,
// docs/interop/qcow2 of QEMU, whose names it uses.
//
// It reads metadata only, but for the ranges that [Image.NonZero] is given, and the
// cluster that [Image.TableAs] is. It never writes, takes no lock, and opens no file
// that an image names: that is for package chain.
//
// # Where to begin
//
// [Open] takes an io.ReaderAt, as archive/zip does; [OpenFile] takes a file or
// block device. From the [Image]:
//
//   - [Image.Header] has the fields as they are stored, [Image.HeaderErrors]
//     what is wrong with them;
//   - [Image.Geometry] has what the fields imply;
//   - [Image.Extensions] yields the header extensions, [Image.Bitmaps] the
//     directory of persistent bitmaps, [Image.LUKS] the encryption header;
//   - [Image.References] yields the other files that the image names: the backing
//     file and the external data file;
//   - [Image.Snapshots] yields the snapshot table, [Image.FindSnapshot] finds
//     one in it;
//   - [Image.Guest] yields the mapping of guest addresses, of the active image or
//     of a snapshot, [Image.Mapper] that of one range after the other;
//   - [Image.Diff] yields what may differ between two snapshots, or a snapshot and
//     the active image;
//   - [Image.BitmapContents] has what each bitmap says is dirty, [Image.DirtyRanges]
//     yields the ranges, [Image.Dirty] with how they are mapped;
//   - [Image.Host] yields what the host clusters hold, and what refers to them;
//   - [Image.Check] finds what is wrong, [Image.Usage] adds up where the bytes
//     went;
//   - [Image.Decode] yields the entries of one table as they are in the file,
//     [Image.FindTable] finds the table;
//   - [Image.Repeats] and [Image.Slacks] find what hides in an image that is
//     consistent, which package audit judges.
//
// A guest address is one of the disk that a virtual machine sees, a host address
// one of the image file. The active image is the disk as the machine uses it now;
// it and each snapshot have an L1 table of their own. Offsets, lengths and sizes
// are in bytes unless their comment says otherwise.
//
// Sequences yield a value or an error. Extensions, snapshots and bitmaps end with
// the first error, as it hides where the next entry begins; Guest, Diff, Host and
// what reads the content of bitmaps go on after it.
//
// # The format in brief
//
// All integers are big-endian. A file is a sequence of clusters of equal size,
// a power of two from 512 bytes to 2 MiB:
//
//	cluster 0                          anywhere else
//	┌────────────────────────────┐
//	│ header          72…112 B   │──► L1 table ──► L2 tables ──► data
//	├────────────────────────────┤──► refcount table ──► refcount blocks
//	│ header extensions          │──► snapshot table ──► L1 table of each
//	│   u32 type                 │──► bitmap directory ──► bitmap tables
//	│   u32 length               │──► encryption header
//	│   data, padded to 8 bytes  │
//	│   …                        │
//	│   end marker (type 0)      │
//	├────────────────────────────┤
//	│ name of the backing file   │
//	└────────────────────────────┘
//
// [Fields] is the layout of the header. An entry of the snapshot table, padded
// to a multiple of 8 bytes:
//
//	 0  u64  L1 table offset        24  u64  guest clock, ns
//	 8  u32  L1 table entries       32  u32  VM state size
//	12  u16  length of the id       36  u32  length of the extra data
//	14  u16  length of the name     40  …    extra data: u64 VM state size,
//	16  u32  date, s                         u64 disk size, u64 icount, …
//	20  u32  date, ns                …  …    id, name
//
// # Damaged and hostile images
//
// Whatever bytes it is given, qinspect terminates, in memory bounded by what the
// file really holds, without a panic, and reports what it could read and what it
// could not. It never writes to an image, takes no lock, and uses no network. It
// opens no file that an image names, unless `--follow` asks for it, and then only
// below the image's own directory and those that `--allow` names. It reads
// metadata; of guest data only what the rules of `audit` name, what `decode --at
// --kind` is pointed at, and the first bytes of a layer to tell its format.
//
// Every function of this package keeps that, and opens no other file: package chain
// follows names.
//
// What the image claims is checked against the size of the file and the [Limits]
// before it is believed: nothing is allocated, looped over or sought on a number
// alone. A part that cannot be read is an [*Error] with the byte offset, and
// hides no other part. Damage that leaves an entry readable is in its Damage
// field.
//
// [Image.HeaderErrors] judges the header alone, [Mapping].Problems one entry: an
// image without either can still be inconsistent. [Image.Check] judges the whole.
//
// Names in an image are arbitrary bytes. Escape them before they reach a
// terminal. In the words of errors they are escaped already.
//
// # Stability
//
// The module is at version 0: a release can change or remove an exported name,
// and its change log says so. Only the names that String and Names methods and
// Section.Key return are stable, as documents elsewhere hold them: names are
// added, never changed. Fields, kinds, limits and options will be added, so write
// struct literals with field names, start from [DefaultLimits] to change a limit,
// and have a default in a switch over kinds. The words of errors are for people
// and can change in any release: compare kinds, with errors.Is.
//
// Package qcow2test is for tests, this project's and yours, and promises nothing.
package qcow2
