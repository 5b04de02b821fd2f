package qcow2

import "encoding/binary"

// Counts lie next to each other, one byte for each cluster: the loops of this file
// take eight of them as one word, as long as nothing about them is unusual.

// eightOf returns a word of eight counts that are all the same.
func eightOf(c count) uint64 { return uint64(c) * 0x0101010101010101 }

// eight returns the first eight counts as a word. The first is in its lowest byte.
func eight(counts []byte) uint64 { return binary.LittleEndian.Uint64(counts) }

// countMatching returns how many counts, from the first on, are equal to want in the
// bits of mask.
func countMatching(counts []byte, mask, want count) int {
	i, masks, wants := 0, eightOf(mask), eightOf(want)
	for i+8 <= len(counts) && eight(counts[i:])&masks == wants {
		i += 8
	}
	for i < len(counts) && count(counts[i])&mask == want {
		i++
	}
	return i
}

// countAgreeing returns how many counts, from the first on, agree with their
// refcount, given that it is 0 or 1: bit 6 is then the refcount.
func countAgreeing(counts []byte) int {
	i := 0
	for ; i+8 <= len(counts); i += 8 {
		w := eight(counts[i:])
		if (w>>6^w)&eightOf(1) != 0 || w&eightOf(countFull&^1) != 0 {
			break
		}
	}
	for i < len(counts) && count(counts[i]).agrees() {
		i++
	}
	return i
}

// agrees reports whether the references are as many as the refcount, which is 0 or
// 1.
func (w count) agrees() bool { return w&countFull == w&countOne>>6 }

// addReferences adds as many references to each count, from the first on, as long as
// they have room. It returns how many have.
func addReferences(counts []byte, references uint64) int {
	if references >= uint64(countFull) {
		return 0
	}
	i, more := 0, eightOf(count(references))
	for ; i+8 <= len(counts); i += 8 {
		w := eight(counts[i:])
		if (w&eightOf(countFull)+more+eightOf(1))&eightOf(countOne)|w&eightOf(countMetadata) != 0 {
			break
		}
		binary.LittleEndian.PutUint64(counts[i:], w+more)
	}
	for ; i < len(counts) && count(counts[i]).hasRoom(references); i++ {
		counts[i] += byte(references)
	}
	return i
}

// markOnes notes that the refcounts of clusters are 1.
func markOnes(counts []byte) {
	i := 0
	for ; i+8 <= len(counts); i += 8 {
		binary.LittleEndian.PutUint64(counts[i:], eight(counts[i:])|eightOf(countOne))
	}
	for ; i < len(counts); i++ {
		counts[i] |= byte(countOne)
	}
}
