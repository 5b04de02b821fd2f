package cmd

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

const configPreamble = `# Settings of qinspect. Flags on the command line override QINSPECT_*
# variables, and those override this file. To set a key, remove the '#' before it;
# for a key of one command, also the '#' before the name of the command.
`

// configTemplate returns a config file in YAML that has every setting, commented
// out, with its meaning, the values that it takes, and its default.
func configTemplate(all []setting) string {
	var b strings.Builder
	b.WriteString(configPreamble)
	group := ""
	for _, s := range all {
		command, name, own := strings.Cut(s.key, ".")
		indent := "  "
		if !own {
			command, name, indent = "", s.key, ""
		}
		b.WriteByte('\n')
		if command != group {
			group = command
			fmt.Fprintf(&b, "#%s:\n", command)
		}
		writeComment(&b, indent+"# ", sentence(meaning(s.flag)))
		writeComment(&b, indent+"# ", "Values: "+allowed(s.flag)+". Variable: "+envName(s.key)+".")
		fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, cmp.Or(s.flag.DefValue, `""`))
	}
	return b.String()
}

// meaning returns what a flag is for, without a list of the values that it takes.
func meaning(flag *pflag.Flag) string {
	what, list, ok := strings.Cut(flag.Usage, ": ")
	if ok && strings.Contains(allowed(flag), list) {
		return what
	}
	return flag.Usage
}

// sentence returns the usage of a flag as a sentence.
func sentence(usage string) string { return strings.ToUpper(usage[:1]) + usage[1:] + "." }

// commentWidth is how wide the comments of a config file are, in characters.
const commentWidth = 80

// writeComment writes text in lines that begin with a prefix.
func writeComment(b *strings.Builder, prefix, text string) {
	width := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case width == 0:
			width = len(prefix)
			b.WriteString(prefix)
		case width+1+n > commentWidth:
			width = len(prefix)
			b.WriteString("\n" + prefix)
		default:
			width++
			b.WriteByte(' ')
		}
		width += n
		b.WriteString(word)
	}
	b.WriteByte('\n')
}
