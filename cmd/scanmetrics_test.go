package cmd

import (
	"regexp"
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestLabelText(t *testing.T) {
	for text, want := range map[string]string{
		"":            "",
		"plain":       "plain",
		"a\nb":        "a\nb",
		`back\slash`:  `back\slash`,
		"\xff":        `\xff`,
		`\xff`:        `\x5cxff`,
		"\\\xff":      `\x5c\xff`,
		"esc\x1b[0m":  `esc\x1b[0m`,
		"del\x7f":     `del\x7f`,
		"csi\u009b0m": `csi\xc2\x9b0m`,
		"rtl\u202e":   `rtl\xe2\x80\xae`,
		"é\ufffd":     "é\ufffd",
	} {
		if got := labelText(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// escaped is a byte that labelText has written in hexadecimal.
var escaped = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// FuzzLabelText: labels are UTF-8 without control characters, and what a label stands
// for can be told, so that texts that differ have labels that do.
func FuzzLabelText(f *testing.F) {
	for _, text := range []string{"a", "\xff\\x", `\x5c`, "\n\x00\u0085", `\\x`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		label := labelText(text)
		if !utf8.ValidString(label) {
			t.Errorf("%q: %q is not UTF-8", text, label)
		}
		for _, r := range label {
			if isControl(r) {
				t.Errorf("%q: %q has a control character", text, label)
			}
		}
		back := escaped.ReplaceAllStringFunc(label, func(s string) string {
			n, err := strconv.ParseUint(s[2:], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			return string([]byte{byte(n)})
		})
		if back != text {
			t.Errorf("%q: %q stands for %q", text, label, back)
		}
	})
}
