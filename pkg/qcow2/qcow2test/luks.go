package qcow2test

import "encoding/binary"

// LUKSHeader returns a LUKS version 1 header with one enabled key slot. The key
// has keyBytes bytes.
func LUKSHeader(cipher, mode string, keyBytes uint32) []byte {
	p := make([]byte, 592)
	copy(p, "LUKS\xba\xbe\x00\x01")
	copy(p[8:], cipher)
	copy(p[40:], mode)
	copy(p[72:], "sha256")
	binary.BigEndian.PutUint32(p[104:], 4096)
	binary.BigEndian.PutUint32(p[108:], keyBytes)
	binary.BigEndian.PutUint32(p[164:], 1234)
	copy(p[168:], "7e16877b-bd1f-4f8b-86f3-e5f2c6f33d6d")
	for i := range 8 {
		slot := p[208+48*i:]
		binary.BigEndian.PutUint32(slot, 0x0000dead)
		binary.BigEndian.PutUint32(slot[40:], uint32(8+i*504)) // sectors, of which 4000 stripes of 64 bytes take 500
		binary.BigEndian.PutUint32(slot[44:], 4000)
	}
	binary.BigEndian.PutUint32(p[208+48:], 0x00ac71f3)
	binary.BigEndian.PutUint32(p[208+48+4:], 5678)
	return p
}
