package qcow2

// Elsewhere says what another program does with an image, as far as the locks
// tell that QEMU takes.
type Elsewhere uint8

// What another program can do, the more it means for a reader the higher.
const (
	ElsewhereNo      Elsewhere = iota // no program has the image open, or one that takes no locks
	ElsewhereReading                  // it is open for reading; so is the backing file of a running machine
	ElsewhereWriting                  // it is open for writing: what the program keeps in memory is not in the file
)

// ElsewhereNames returns the names of the states in their order.
func ElsewhereNames() []string { return []string{"no", "reading", "writing"} }

// String returns the name of the state.
func (e Elsewhere) String() string { return nameOf(ElsewhereNames(), e, "unknown-") }
