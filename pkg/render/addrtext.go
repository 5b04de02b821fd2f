package render

// An AddrText appends addresses as [AppendAddr] does. It keeps the text: most
// addresses of a long listing are that of the cluster behind the last one, which
// changes a digit or two. The zero AddrText is ready for use.
type AddrText struct {
	next        uint64 // the address of the cluster behind
	clusterBits uint
	text        []byte
	hex         int // digits
}

// Append appends a byte offset with the number of its cluster.
func (a *AddrText) Append(dst []byte, n uint64, clusterBits uint) []byte {
	if n != a.next || clusterBits != a.clusterBits || !a.step() {
		a.clusterBits, a.hex = clusterBits, hexDigitsOf(n)
		a.text = AppendAddr(a.text[:0], n, clusterBits)
	}
	a.next = n + 1<<clusterBits
	return append(dst, a.text...)
}

// step adds a cluster to the text. It returns false where that takes another
// digit, or there is no text yet.
func (a *AddrText) step() bool {
	if a.clusterBits == 0 {
		return false
	}
	i := len(a.text) - len("9)")
	for ; a.text[i] == '9'; i-- {
		a.text[i] = '0'
	}
	if a.text[i] == '#' {
		return false
	}
	a.text[i]++
	i = len("0x") + a.hex - 1 - int(a.clusterBits/4)
	for add := 1 << (a.clusterBits % 4); add > 0; i-- {
		if i < len("0x") {
			return false
		}
		add += hexValue(a.text[i])
		a.text[i] = hexDigits[add&15]
		add >>= 4
	}
	return true
}

// hexValue returns the value of a hexadecimal digit.
func hexValue(c byte) int {
	if c <= '9' {
		return int(c - '0')
	}
	return int(c-'a') + 10
}
