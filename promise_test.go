package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promiseText is what begins with the first words of the promise and ends with its
// last, across lines and comment signs.
var promiseText = regexp.MustCompile(`(?s)Whatever bytes it is given, qinspect terminates.*?to\s+(//\s+)?tell\s+(//\s+)?its\s+(//\s+)?format\.`)

// TestPromise: README, SECURITY.md and go doc promise the same, word by word.
func TestPromise(t *testing.T) {
	var first string
	for _, name := range []string{"SECURITY.md", "README.md", filepath.Join("pkg", "qcow2", "doc.go")} {
		text := promiseText.FindString(readText(t, name))
		words := strings.Join(strings.Fields(strings.ReplaceAll(text, "\n//", "\n")), " ")
		if first == "" {
			first = words
		}
		if words != first || strings.Count(words, ". ") != 3 {
			t.Errorf("%s promises\n%q, SECURITY.md\n%q", name, words, first)
		}
	}
}
