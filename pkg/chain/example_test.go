package chain_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
)

// What each layer of a chain contributes to the disk.
func ExampleRead() {
	const name = "../../testdata/images/backing.qcow2"
	img, err := qcow2.OpenFile(name)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	folders, err := chain.NewFolders(name) // no file outside its directory is opened
	if err != nil {
		log.Fatal(err)
	}
	defer folders.Close()
	c := chain.Read(name, img.Image, img, chain.Options{Opener: folders})
	defer c.Close()
	shares, err := c.Shares(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	for i, l := range c.Layers {
		fmt.Println(l.Depth, filepath.Base(l.Filename), l.Status, shares.Layers[i].Visible)
	}
	fmt.Println("complete:", c.Complete(), "unallocated:", shares.Unallocated)
	// Output:
	// 0 backing.qcow2 opened 512
	// 1 base.qcow2 opened 1024
	// complete: true unallocated: 63488
}
