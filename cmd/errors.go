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
//   - A line begins with "qinspect: ". If it is about an image, the name of the
//     image follows, and the rest of the line does not repeat it.
//   - The words are lower case, without a full stop.
//   - Advice is a second line that begins with "qinspect: hint: ". The same advice
//     is not given twice in a row.
//   - Nothing reaches the terminal unescaped: text of an image is escaped where
//     the error is made, everything else in complain.
//   - Errors about an image come after all output about that image.
//   - There is no error when the reader of the output goes away.

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

// complain writes an error to standard error, and its hint. name is that of the
// image, empty if the error is not about one.
func (a *app) complain(name string, err error) {
	words := err.Error()
	if name != "" {
		name = render.Escape(name) + ": "
		words = reason(err)
	}
	fmt.Fprintf(a.Stderr, "qinspect: %s%s\n", name, printable(words))
	if hint := hintFor(err); hint != "" && hint != a.hinted {
		a.hinted = hint
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

// reason returns the words of an error about an image without the name of the
// image, which errors of the operating system repeat.
func reason(err error) string {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // a wrapped one has words around it
		return e.Err.Error()
	}
	return err.Error()
}

// hintFor returns what to do about an error, empty if there is no advice.
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
