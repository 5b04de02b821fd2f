package cmd

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shellWord returns a text as a word for the shell, so that it can be typed: as it
// is, in quotes, or where it has bytes that a terminal would act on, as $'…', which
// bash, zsh and ksh know. No word has a NUL: ok is false where s has one.
func shellWord(s string) (word string, ok bool) {
	switch {
	case strings.ContainsRune(s, 0):
		return "", false
	case s != "" && strings.Trim(s, plain) == "":
		return s, true
	case isPrintable(s):
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c) // always three digits: what follows can be one
		}
	}
	return b.String() + "'", true
}

// isPrintable reports whether a terminal shows each character of a text, and as
// nothing else.
func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) })
}

// shellFile returns the name of a file as a word for the shell, which no program
// takes for a flag or for an address in the network.
func shellFile(name string) string {
	if first, _, _ := strings.Cut(name, "/"); strings.HasPrefix(name, "-") || strings.Contains(first, ":") {
		name = "./" + name
	}
	word, _ := shellWord(name) // the file was opened: its name has no NUL
	return word
}
