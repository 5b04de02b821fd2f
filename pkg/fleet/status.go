package fleet

// A Status is what a scan makes of an image.
type Status uint8

// The statuses.
const (
	StatusOK          Status = iota // consistent
	StatusLeaks                     // clusters leak, and nothing else is wrong
	StatusErrors                    // something is damaged, perhaps the header
	StatusLive                      // leaks or errors, but another program has the image open for writing
	StatusChanged                   // the file changed while it was read: there is no verdict
	StatusUnsupported               // of a version, or with a feature, that [qcow2] does not know
	StatusNotQcow2                  // no qcow2 image
	StatusUnreadable                // the system does not let it be read, or the file ends inside the header
	StatusTimedOut                  // looking at it took longer than it was given

	statuses // how many
)

// StatusNames returns the names of the statuses in their order.
func StatusNames() []string {
	return []string{"ok", "leaks", "errors", "live", "changed", "unsupported", "not-qcow2", "unreadable", "timed-out"}
}

// String returns the name of the status.
func (s Status) String() string {
	if s < statuses {
		return StatusNames()[s]
	}
	return "unknown"
}
