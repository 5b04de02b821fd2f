package render

import (
	"strconv"
	"unicode/utf8"
)

// appendEscaped appends bytes of an image as Go quotes them, without the
// quotation marks: nothing that a terminal would act on is left, and a
// backslash is doubled so that the result is unambiguous.
func appendEscaped(dst []byte, s string) []byte {
	if isPlainASCII(s) {
		return append(dst, s...)
	}
	start := len(dst)
	dst = strconv.AppendQuote(dst, s)
	quoted := dst[start+1 : len(dst)-1]
	dst = dst[:start]
	for i := 0; i < len(quoted); i++ { // in place: what is kept never overtakes
		if quoted[i] == '\\' {
			if i++; quoted[i] != '"' {
				dst = append(dst, '\\')
			}
		}
		dst = append(dst, quoted[i])
	}
	return dst
}

// Escape returns bytes of an image as they may be shown on a terminal: as Go
// quotes them, without the quotation marks.
func Escape(s string) string { return string(appendEscaped(nil, s)) }

// isPlainASCII reports whether s needs no escaping.
func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// appendJSONString appends s as a JSON string. Each ill-formed UTF-8 sequence
// becomes one U+FFFD, as in qemu-img. What a terminal acts on, or a reader's eye is
// misled by, is escaped.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			n, ok := sequence(s[i:])
			switch r, _ := utf8.DecodeRuneInString(s[i:]); {
			case !ok:
				dst = append(dst, "\ufffd"...)
			case isHidden(r):
				dst = append(dst, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			default:
				dst = append(dst, s[i:i+n]...)
			}
			i += n
		}
	}
	return append(dst, '"')
}

// isHidden reports whether a character beyond ASCII controls how others are shown:
// the controls U+0080 to U+009F, line and paragraph separators, and what sets the
// direction of text.
func isHidden(r rune) bool {
	return r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// sequence returns the length of the UTF-8 sequence that s begins with and
// whether it is well formed. An ill-formed one is a leading byte with as many
// of its continuation bytes as there are.
func sequence(s string) (n int, ok bool) {
	if r, n := utf8.DecodeRuneInString(s); r != utf8.RuneError || n > 1 {
		return n, true
	}
	want := 1
	if s[0] >= 0xc0 && s[0] < 0xfe { // a leading byte; the number of its leading ones is the length
		for mask := byte(0x40); s[0]&mask != 0; mask >>= 1 {
			want++
		}
	}
	n = 1
	for n < want && n < len(s) && s[n]&0xc0 == 0x80 {
		n++
	}
	return n, false
}
