package audit

import (
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Finding says why a rule fails, or that it was not checked.
type Finding struct {
	Rule  ID
	Level Level
	// NotChecked says that the rule, and others for the same reason, could not be
	// checked.
	NotChecked bool
	// Offset is where it is, in bytes from the start of the file (of "nested-format":
	// of the disk); meaningful when HasOffset is true. Length is how many bytes it is
	// about; 0: it is about no range.
	Offset, Length uint64
	HasOffset      bool
	// Message says what is wrong. It never holds bytes of the image unescaped.
	Message string
	// Value and Limit are the numbers that were compared, meaningful when HasValue
	// and HasLimit are true.
	Value, Limit       uint64
	HasValue, HasLimit bool
	// Name is what the image calls it, such as the name of another file: arbitrary
	// bytes; meaningful when HasName is true.
	Name    string
	HasName bool
}

// found returns a finding in words.
func found(format string, args ...any) Finding {
	return Finding{Message: fmt.Sprintf(format, args...)}
}

// ofError returns a finding in the words of an error of package qcow2.
func ofError(err error) Finding {
	if e, ok := errors.AsType[*qcow2.Error](err); ok {
		return found("%s: %s", e.Section, e.Detail).at(e.Offset)
	}
	return found("%v", err)
}

func (f Finding) at(offset uint64) Finding {
	f.Offset, f.HasOffset = offset, true
	return f
}

func (f Finding) over(length uint64) Finding {
	f.Length = length
	return f
}

func (f Finding) value(n uint64) Finding {
	f.Value, f.HasValue = n, true
	return f
}

func (f Finding) limit(n uint64) Finding {
	f.Limit, f.HasLimit = n, true
	return f
}

func (f Finding) named(name string) Finding {
	f.Name, f.HasName = name, true
	return f
}

// field returns a finding about a header field.
func (f Finding) field(name string) Finding {
	for field := range qcow2.Fields() {
		if field.Name == name {
			return f.at(uint64(field.Offset)).over(uint64(field.Size))
		}
	}
	panic("audit: no header field " + name)
}

// only returns the findings of a rule that has one thing to say.
func only(f Finding) ([]Finding, error) { return []Finding{f}, nil }

// failIf returns the finding if a rule fails.
func failIf(fails bool, f func() Finding) ([]Finding, error) {
	if !fails {
		return nil, nil
	}
	return only(f())
}
