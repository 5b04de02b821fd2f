package fleet

import "io/fs"

// seen holds the files that were found, so that each is taken once. The values tell
// which were found for no other reason than that they lie in a directory.
type seen struct {
	files map[identity]bool
	names map[string]bool // of what is not there, or has no identity
}

// An identity is what tells one file of the system from all others.
type identity struct{ device, inode uint64 }

func newSeen() *seen { return &seen{map[identity]bool{}, map[string]bool{}} }

// isNew reports whether a file is none of those before, or is named now and may have been
// passed over as no image: it is found again then. info is nil if nothing is known of it.
func (s *seen) isNew(f *Found, info fs.FileInfo) bool {
	if _, named := s.names[f.Name]; !named && info != nil {
		if id, ok := identityOf(info); ok {
			return isNew(s.files, id, f)
		}
	}
	return isNew(s.names, f.Name, f)
}

// isNew is seen.isNew for what a file goes by.
func isNew[K comparable](seen map[K]bool, key K, f *Found) bool {
	lies, before := seen[key]
	f.Again = lies && !f.Any
	seen[key] = f.Any && f.Err == nil && (lies || !before)
	return !before || f.Again
}
