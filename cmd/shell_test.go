package cmd

import (
	"os/exec"
	"testing"
)

// TestShellWord: bash reads each word as the text that it was made of.
func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"daily-1":       "daily-1",
		"":              "''",
		"two words":     "'two words'",
		"it's":          `'it'\''s'`,
		"$(rm -rf ~)":   "'$(rm -rf ~)'",
		"naïve":         "'naïve'",
		"a\\b":          `'a\b'`,
		"\x1b[31m7\n":   `$'\033[31m7\012'`,
		"bad\xff'1\\":   `$'bad\377\'1\\'`,
		"\u202eabc":     `$'\342\200\256abc'`,
		"no\u00a0break": `$'no\302\240break'`,
	} {
		word, ok := shellWord(text)
		if !ok || word != want {
			t.Errorf("%q: %s, %v, want %s", text, word, ok, want)
		}
		bash, err := exec.LookPath("bash")
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+word).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q: bash reads %s as %q, %v", text, word, out, err)
		}
	}
	if word, ok := shellWord("a\x00b"); ok {
		t.Errorf("a text with a NUL is the word %q", word)
	}
}

func TestShellFile(t *testing.T) {
	for name, want := range map[string]string{
		"disk.qcow2": "disk.qcow2", "-o": "./-o", "nbd:disk": "./nbd:disk", "/images/a:b": "/images/a:b", "a b/c:d": "'a b/c:d'",
	} {
		if got := shellFile(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
