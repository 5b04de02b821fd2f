// Package fleet finds images and says of each, in one row of facts, how it is: what
// [qcow2.Image.Check] and [qcow2.Image.Usage] count, whether another program is
// writing to it, which files it names. No file is opened that an image names.
//
// [Search.Find] walks directories, and leaves out what belongs to other shards;
// [Scanner.Look] opens what was found, from as many goroutines as the caller likes;
// [Totals] adds rows up.
package fleet
