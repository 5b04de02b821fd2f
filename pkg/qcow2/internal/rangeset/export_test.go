package rangeset

// Len returns how many sets are kept, for tests.
func (s *Sets) Len() int { return len(s.sets) }
