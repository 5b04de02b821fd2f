package chain

import (
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// maxReported bounds an errorSet.
const maxReported = 1024

// An errorSet is the errors about one layer that have been reported: a layer is
// asked for a broken table as often as ranges lead there.
type errorSet map[errorPlace]struct{}

// An errorPlace is what an error is about.
type errorPlace struct {
	section qcow2.Section
	offset  uint64
}

// add reports whether an error is new, as far as the set has room.
func (s *errorSet) add(err error) bool {
	e, ok := errors.AsType[*qcow2.Error](err)
	if !ok {
		return true
	}
	p := errorPlace{e.Section, e.Offset}
	if _, seen := (*s)[p]; seen {
		return false
	}
	if *s == nil {
		*s = errorSet{}
	}
	if len(*s) < maxReported {
		(*s)[p] = struct{}{}
	}
	return true
}
