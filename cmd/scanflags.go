package cmd

import (
	"errors"
	"time"

	"github.com/qinspect/qinspect/pkg/fleet"
)

// A shardFlag is a flag that takes "K/N". It need not be given.
type shardFlag struct{ fleet.Shard }

func (*shardFlag) Type() string { return "K/N" }

// Set takes a part.
func (s *shardFlag) Set(text string) error {
	shard, err := fleet.ParseShard(text)
	s.Shard = shard
	return err
}

func (*shardFlag) allowed() string { return "K/N, with K from 1 to N" }

// A timeLimit is a flag that takes a time above 0. It need not be given.
type timeLimit struct {
	text  string
	limit time.Duration
}

func (t *timeLimit) String() string { return t.text }
func (*timeLimit) Type() string     { return "duration" }

// Set takes a time. An empty text is none.
func (t *timeLimit) Set(s string) error {
	limit, err := t.parse(s)
	if err == nil {
		*t = timeLimit{s, limit}
	}
	return err
}

func (t *timeLimit) check(s string) error {
	_, err := t.parse(s)
	return err
}

func (t *timeLimit) parse(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New("must be " + t.allowed())
	}
	return d, nil
}

func (*timeLimit) allowed() string { return "a time with its unit (500ms, 30s, 5m)" }
