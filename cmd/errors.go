package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// The rules of standard error:
//
//   - Each line begins with "qinspect: ", and where it is about an image, with
//     the name of the image after that. What an error says about an image does
//     not repeat the name.
//   - The words are lower case, without a full stop.
//   - Advice follows as a second line that begins with "hint: ". It is not given
//     twice in a row.
//   - Nothing reaches the terminal unescaped. Text of an image is escaped where
//     the error is made, names of files and all else in complain.
//   - Errors about an image come after all output about it.

// A hintError is an error with advice on a second line.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// usageError is an error in how the command was called.
func usageError(cmd *cobra.Command, err error) error {
	return &hintError{err, fmt.Sprintf("see '%s --help'", cmd.CommandPath())}
}

// complain writes an error to standard error, with a hint where there is one.
// The words are lower case, without a full stop, and safe for a terminal.
func (a *app) complain(name string, err error) {
	words := err.Error()
	if name != "" {
		name = render.Escape(name) + ": "
		words = reason(err)
	}
	fmt.Fprintf(a.Stderr, "qinspect: %s%s\n", name, printable(words))
	if hint := hintFor(err); hint != "" && hint != a.hinted {
		a.hinted = hint // once is enough
		fmt.Fprintf(a.Stderr, "qinspect: hint: %s\n", hint)
	}
}

// printable escapes what a terminal would act on. It leaves backslashes alone:
// text of an image has been escaped where the error was made.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// reason returns the words of an error about an image without the image's name,
// which the operating system's errors repeat.
func reason(err error) string {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // a wrapped one has words around it
		return e.Err.Error()
	}
	return err.Error()
}

// hintFor returns what to do about an error, where there is something.
func hintFor(err error) string {
	if e, ok := errors.AsType[*hintError](err); ok {
		return e.hint
	}
	if errors.Is(err, qcow2.ErrLimit) {
		return "--no-limits lifts the limits"
	}
	if format, ok := errors.AsType[qcow2.ForeignFormat](err); ok {
		return foreignHint(format)
	}
	return ""
}

// foreignHint returns what to do with a file of another format.
func foreignHint(format qcow2.ForeignFormat) string {
	switch format {
	case "gzip", "bzip2", "xz", "zstd":
		return "decompress it first"
	case "tar":
		return "extract the image from it first"
	case "luks":
		return "'cryptsetup luksDump' shows its header"
	case "raw", "iso":
		return "it has no metadata of its own; 'qemu-img map -f raw' shows what it allocates"
	}
	return fmt.Sprintf("'qemu-img info -f %s' shows it, 'qemu-img convert -f %[1]s -O qcow2' converts it", string(format))
}
