package render

import "strings"

// fewWords is the least width of a column of text, in characters: before other
// columns go, its words take several lines of that width.
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
