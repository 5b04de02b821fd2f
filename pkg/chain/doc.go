// Package chain reads backing chains: a qcow2 image, its backing file, the backing
// file of that, down to the base. It says which layer holds what of the guest's
// disk, what a commit of a layer into the one below it would move, and who depends
// on a base.
//
// [Read] walks from an open image to the layers below it. What a name stands for,
// and whether it may be opened, is decided by an [Opener]; without one no name is
// opened. [Folders] is that of files:
//
//  1. A name is text first. What QEMU takes for a protocol or for options is never
//     opened, nor is an empty name, one with a NUL, or one of more than 1023 bytes.
//  2. A relative name is joined to the directory part of the name by which its layer
//     was opened, as QEMU does.
//  3. The file has to lie in the directory of the image or in one that the caller
//     allows. It is opened through an [os.Root] of that directory, out of which
//     neither ".." nor a symbolic link leads.
//  4. It has to be a regular file or a block device, before it is opened and after.
//  5. A file that was visited ends the chain, and so does the depth that the caller
//     sets.
//
// [Chain.Map] merges the mappings of all layers into that of the disk, as
// qemu-img map shows it. [Chain.Shares] adds it up. Below a layer that was not read
// nothing is known: no file, however damaged, makes that look like zeros.
//
// The package reads the metadata of layers and the first bytes of a file to tell
// its format, never guest data, and writes nothing. It is at version 0, as its
// module is: names can change.
package chain
