package chain

import (
	"fmt"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// maxNameBytes is the longest name that is looked at, in bytes: QEMU's limit.
const maxNameBytes = 1023

// refusal returns why a name must not be looked up, judged by its text alone; ""
// if it may. What it quotes is escaped.
func refusal(ref *qcow2.FileReference) string {
	switch {
	case ref.Name == "":
		return "the name is empty"
	case len(ref.Name) > maxNameBytes:
		return fmt.Sprintf("the name has %d bytes, more than %d", len(ref.Name), maxNameBytes)
	case strings.Contains(ref.Name, "\x00"):
		return "the name holds a NUL, where QEMU would cut it"
	case ref.Kind == qcow2.NameJSON:
		return "the name is a JSON object with options of QEMU"
	case ref.Kind == qcow2.NameProtocol:
		protocol, _, _ := strings.Cut(ref.Name, ":")
		return fmt.Sprintf("the name begins with a protocol, %q", protocol)
	}
	return ""
}

// hasParent reports whether a name has an element "..".
func hasParent(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return true
		}
	}
	return false
}
