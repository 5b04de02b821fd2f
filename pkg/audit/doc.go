// Package audit judges whether a disk image from a stranger is safe to accept. Its
// rules ask package qcow2 for facts, and a [Policy] says how grave each rule is.
//
// It opens no file: the caller hands it one, as an [io.ReaderAt]. Of guest data it
// reads what two rules name: "nested-format" the first 36 KiB of the disk, and
// "format-tail" the end of the file. With [Options.Content] "hidden-free" and
// "hidden-slack" read bytes of the file to which nothing refers.
//
// It fails closed: a rule that could not be checked rejects the image, whatever
// its level, but for "nested-format" of an encrypted one, and for [LevelOff].
//
// The ids of rules never change their meaning. New rules have level [LevelNote] in
// [Default] until the next major version. The words of findings are for people and
// can change in any release.
package audit
