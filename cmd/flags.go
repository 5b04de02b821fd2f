package cmd

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// The types of flags. Each implements pflag.Value. allowed returns which values
// a flag takes, in words that follow "must be". The types that a config file can
// set have check: it returns the error that Set would, and sets nothing.

// A choice is a flag that takes one of a few words.
type choice[T ~string] struct {
	value T
	all   []T
}

// newChoice returns a flag whose default is the first of the choices.
func newChoice[T ~string](all ...T) *choice[T] { return &choice[T]{value: all[0], all: all} }

func (c *choice[T]) String() string { return string(c.value) }
func (c *choice[T]) Type() string   { return "string" }

// Set chooses a word.
func (c *choice[T]) Set(s string) error {
	if err := c.check(s); err != nil {
		return err
	}
	c.value = T(s)
	return nil
}

func (c *choice[T]) check(s string) error {
	if !slices.Contains(c.all, T(s)) {
		return errors.New("must be " + c.allowed())
	}
	return nil
}

// names returns the words.
func (c *choice[T]) names() []string {
	names := make([]string, len(c.all))
	for i, v := range c.all {
		names[i] = string(v)
	}
	return names
}

// choices returns the words as a list for people.
func (c *choice[T]) choices() string { return strings.Join(c.names(), ", ") }

func (c *choice[T]) allowed() string { return "one of " + c.choices() }

// An address is a flag that takes a position or a length in bytes, in sectors of
// 512 bytes as the logs of kernels have them, or in clusters.
type address struct {
	text     string // as given; empty: not given
	n        uint64
	clusters bool // n counts clusters
}

func (a *address) String() string { return a.text }
func (a *address) Type() string   { return "address" }

// Set parses an address.
func (a *address) Set(s string) error {
	digits, clusters := strings.CutPrefix(s, "#")
	base, shift := 10, 0
	if !clusters {
		digits, base, shift = splitNumber(s)
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || bits.Len64(n)+shift > 64 {
		return errors.New("must be " + a.allowed())
	}
	*a = address{text: s, n: n << shift, clusters: clusters}
	return nil
}

func (*address) allowed() string {
	return "a number of bytes (0x…, decimal, 64K, 3G), of sectors of 512 bytes (123s) or of clusters (#N)"
}

// splitNumber returns the digits of a number of bytes, their base, and by how many
// bits the suffix shifts it.
func splitNumber(s string) (digits string, base, shift int) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return hex, 16, 0
	}
	n := len(s) - 1
	if n < 1 {
		return s, 10, 0
	}
	suffix := s[n] &^ 0x20 // in upper case
	if suffix == 'S' {
		return s[:n], 10, sectorBits
	}
	if i := strings.IndexByte("KMGTPE", suffix); i >= 0 {
		return s[:n], 10, 10 * (i + 1)
	}
	return s, 10, 0
}

// sectorBits is the binary logarithm of the size of a sector in bytes.
const sectorBits = 9

// given reports whether the flag was set.
func (a *address) given() bool { return a.text != "" }

// bytes returns the address in bytes.
func (a *address) bytes(clusterBits uint) (uint64, error) {
	if !a.clusters {
		return a.n, nil
	}
	if bits.Len64(a.n)+int(clusterBits) > 64 {
		return 0, fmt.Errorf("cluster %s lies beyond 2^64 bytes", a.text)
	}
	return a.n << clusterBits, nil
}

// A snapshotFlag is a flag that selects a snapshot by its id, its name or "@N".
// The name of a snapshot can be empty.
type snapshotFlag struct {
	name  string
	given bool
}

const snapshotUsage = "the mapping of a snapshot, by id, name or @position"

func (s *snapshotFlag) String() string { return s.name }
func (s *snapshotFlag) Type() string   { return "string" }

// Set takes any name.
func (s *snapshotFlag) Set(name string) error {
	*s = snapshotFlag{name, true}
	return nil
}

// find returns the selected snapshot of an image, nil if the flag was not given.
func (s *snapshotFlag) find(img *qcow2.Image) (*qcow2.Snapshot, error) {
	if !s.given {
		return nil, nil
	}
	found, err := img.FindSnapshot(s.name)
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// A mappingFlag is a snapshotFlag that also takes the active image, as does one that
// was not given.
type mappingFlag struct{ snapshotFlag }

// activeImage is the active image in a mappingFlag. A snapshot of that name goes by
// its id or position.
const activeImage = "active"

// find returns the selected snapshot of an image, nil for the active image.
func (m *mappingFlag) find(img *qcow2.Image) (*qcow2.Snapshot, error) {
	if m.name == activeImage {
		return nil, nil
	}
	return m.snapshotFlag.find(img)
}

// hostKinds is a flag that takes kinds of host clusters, separated by commas.
// Without any it stands for all.
type hostKinds []qcow2.HostKind

func (k *hostKinds) Type() string { return "string" }

func (k *hostKinds) String() string {
	names := make([]string, len(*k))
	for i, kind := range *k {
		names[i] = kind.String()
	}
	return strings.Join(names, ",")
}

// Set takes the names of kinds.
func (k *hostKinds) Set(s string) error {
	kinds, err := k.parse(s)
	if err == nil {
		*k = kinds
	}
	return err
}

func (k *hostKinds) check(s string) error {
	_, err := k.parse(s)
	return err
}

func (k *hostKinds) parse(s string) ([]qcow2.HostKind, error) {
	if s == "" {
		return nil, nil
	}
	var kinds []qcow2.HostKind
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(qcow2.HostKindNames(), strings.TrimSpace(name))
		if i < 0 {
			return nil, errors.New("must be " + k.allowed())
		}
		kinds = append(kinds, qcow2.HostKind(i))
	}
	return kinds, nil
}

func (*hostKinds) allowed() string {
	return "some of " + strings.Join(qcow2.HostKindNames(), ", ")
}

// wants reports whether the flag stands for a kind.
func (k *hostKinds) wants(kind qcow2.HostKind) bool { return len(*k) == 0 || slices.Contains(*k, kind) }
