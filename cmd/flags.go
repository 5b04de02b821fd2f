package cmd

import (
	"errors"
	"slices"
	"strings"
)

// A choice is a flag that takes one of a few words. It implements pflag.Value.
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
	if !slices.Contains(c.all, T(s)) {
		return errors.New("must be " + c.allowed())
	}
	c.value = T(s)
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

// allowed says which values there are.
func (c *choice[T]) allowed() string { return "one of " + c.choices() }
