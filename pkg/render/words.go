package render

import "strings"

// fewWords is the least width of a column of text, in characters: before other
// columns go, its words take several lines of that width.
const fewWords = 20

// unbroken returns the words of a text. What stands in single quotes is one word: it
// may be a command, or a name in one.
func unbroken(text string) []string {
	var words []string
	open := false
	for word := range strings.SplitSeq(text, " ") {
		if open {
			words[len(words)-1] += " " + word
		} else {
			words = append(words, word)
		}
		if quotes := strings.Count(word, "'") - strings.Count(word, `\'`); (open || strings.HasPrefix(word, "'")) && quotes%2 == 1 {
			open = !open
		}
	}
	return words
}

// breakWords returns text on lines of at most width characters, more where a
// word has more. A width of 0 is unlimited.
func breakWords(text string, width int) []string {
	if width == 0 || displayWidth(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range unbroken(text) {
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
	for _, word := range unbroken(text) {
		longest = max(longest, displayWidth(word))
	}
	return longest
}
