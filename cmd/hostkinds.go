package cmd

import (
	"errors"
	"slices"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// hostKinds is a flag that takes kinds of host clusters. It implements
// pflag.Value.
type hostKinds []qcow2.HostKind

func (k *hostKinds) Type() string { return "string" }

func (k *hostKinds) String() string {
	names := make([]string, len(*k))
	for i, kind := range *k {
		names[i] = kind.String()
	}
	return strings.Join(names, ",")
}

// Set parses names separated by commas.
func (k *hostKinds) Set(s string) error {
	*k = nil
	if s == "" {
		return nil // as built in
	}
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(qcow2.HostKindNames(), strings.TrimSpace(name))
		if i < 0 {
			return errors.New("must be " + k.allowed())
		}
		*k = append(*k, qcow2.HostKind(i))
	}
	return nil
}

// allowed says which values there are.
func (*hostKinds) allowed() string {
	return "some of " + strings.Join(qcow2.HostKindNames(), ", ")
}

// wants reports whether a kind is one of them; without any, all are.
func (k *hostKinds) wants(kind qcow2.HostKind) bool { return len(*k) == 0 || slices.Contains(*k, kind) }
