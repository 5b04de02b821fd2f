// Bareloop does the work of a command of qinspect without looking at what could be
// wrong: it reads the tables of an image that is known to be fine, and counts the
// references to each cluster, or formats the lines. That is about as fast as such a
// command can be on one core. It knows no snapshots, and refcounts of 16 bits alone.
//
//	bareloop check|guest|json|host IMAGE
//
// Without arguments it does nothing, as a program that header can be compared with.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		return
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

// run does the work of a command on an image.
func run(command, name string) error {
	m, err := open(name)
	if err != nil {
		return err
	}
	out := newLines()
	switch command {
	case "check":
		err = m.check()
	case "guest":
		err = m.guest(out)
	case "json":
		err = m.json(out)
	case "host":
		err = m.host(out)
	default:
		err = fmt.Errorf("there is no loop for %s", command)
	}
	if err != nil {
		return err
	}
	out.flush()
	return out.err
}
