package render

import "strings"

// fewWords is the width down to which a column of text gives way to others, in
// characters: its words take several lines then.
const fewWords = 20

// breakWords returns text on lines of at most width characters, more where a
// word has more. A width of 0 is unlimited.
func breakWords(text string, width int) []string {
	if width == 0 || displayWidth(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		switch longer := line + " " + word; {
		case line == "":
			line = word
		case displayWidth(longer) <= width:
			line = longer
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// longestWord returns how wide the longest word of a text is, in characters.
func longestWord(text string) int {
	longest := 0
	for word := range strings.SplitSeq(text, " ") {
		longest = max(longest, displayWidth(word))
	}
	return longest
}
