package fleet

import "io/fs"

// seen holds the files that were found, so that each is taken once.
type seen struct {
	files map[identity]bool
	names map[string]bool // of what is not there, or has no identity
}

// An identity is what tells one file of the system from all others.
type identity struct{ device, inode uint64 }

func newSeen() *seen { return &seen{map[identity]bool{}, map[string]bool{}} }

// isNew reports whether a file is none of those before; info is nil if nothing is
// known of it.
func (s *seen) isNew(name string, info fs.FileInfo) bool {
	if s.names[name] {
		return false
	}
	if info != nil {
		if id, ok := identityOf(info); ok {
			again := s.files[id]
			s.files[id] = true
			return !again
		}
	}
	s.names[name] = true
	return true
}
