package fleet

import "io/fs"

// seen holds the files that were found, so that each is taken once: by an identity, or by
// the name of what is not there, or has none. The value tells of a file that was found
// for no other reason than that it lies in a directory.
type seen map[any]bool

// An identity is what tells one file of the system from all others.
type identity struct{ device, inode uint64 }

// isNew reports whether a file is none of those before, or is named now and may have been
// passed over as no image: it is found again then. info is nil if nothing is known of it.
func (s seen) isNew(f *Found, info fs.FileInfo) bool {
	key := any(f.Name)
	if _, unknown := s[key]; !unknown && info != nil {
		if id, ok := identityOf(info); ok {
			key = id
		}
	}
	lies, before := s[key]
	f.Again = lies && !f.Any
	s[key] = f.Any && f.Err == nil && (lies || !before)
	return !before || f.Again
}
