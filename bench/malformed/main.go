// Malformed writes malformed images to a directory: those of the tests, and small
// ones that claim a lot.
//
//	go run ./bench/malformed FOLDER
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("malformed: ")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: malformed FOLDER")
	}
	if err := write(flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

// write writes all images, each to a file of its name.
func write(folder string) error {
	plain := strings.NewReplacer(" ", "_", "[", "-", "]", "")
	for name, b := range qcow2test.Malformed() {
		if err := os.WriteFile(filepath.Join(folder, plain.Replace(name)+".qcow2"), b.Bytes, 0o600); err != nil {
			return err
		}
	}
	return writeSlow(folder)
}
