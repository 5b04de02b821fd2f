// Randomimage writes a qcow2 image whose guest clusters are mapped to host
// clusters in random order, as after years of use, or in runs, or all in sequence.
// Guest data is a hole in the file: only metadata take space. Snapshots share what
// was not written after them. qemu-img finds such an image consistent.
//
//	go run ./bench/randomimage -size 128 random.qcow2
package main

import (
	"flag"
	"log"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("randomimage: ")
	var w wanted
	flag.Uint64Var(&w.size, "size", 128, "virtual size in GiB")
	flag.UintVar(&w.clusterBits, "cluster-bits", 16, "clusters of 2 to the power of this many bytes: 9 to 21")
	flag.Uint64Var(&w.run, "run", 1, "guest clusters in sequence before the next random place; 0: all of them")
	flag.Uint64Var(&w.snapshots, "snapshots", 0, "number of snapshots")
	flag.Uint64Var(&w.changed, "changed", 1, "L2 tables in which a cluster is written after each snapshot; 0: all are shared")
	flag.Parse()
	w.size <<= 30
	if flag.NArg() != 1 {
		log.Fatal("usage: randomimage [-size GiB] [-cluster-bits N] [-run N] [-snapshots N] [-changed N] FILE")
	}
	l, err := newLayout(w)
	if err != nil {
		log.Fatal(err)
	}
	if err := write(flag.Arg(0), l); err != nil {
		log.Fatal(err)
	}
}
