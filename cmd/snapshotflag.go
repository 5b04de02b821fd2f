package cmd

import "github.com/qinspect/qinspect/pkg/qcow2"

// A snapshotFlag is the flag that selects a snapshot: by id, name or "@N". It can
// be empty, as a name can. It implements pflag.Value.
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

// find returns the snapshot of an image, nil where the flag was not given.
func (s *snapshotFlag) find(img *qcow2.File) (*qcow2.Snapshot, error) {
	if !s.given {
		return nil, nil
	}
	found, err := img.FindSnapshot(s.name)
	if err != nil {
		return nil, err
	}
	return &found, nil
}
