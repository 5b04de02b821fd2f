// Package cmd is the qinspect command: one file per subcommand, over one loader.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Process is what the command needs from the process that it runs in.
type Process struct {
	Args    []string  // without the program's name
	Stdin   io.Reader // nil: there is none
	Stdout  io.Writer
	Stderr  io.Writer
	Version string // empty: that of the module
	Open    Opener // nil: opens files and block devices
	// OpenHostFile opens a file that may be no image; nil: as Open does.
	OpenHostFile func(name string) (HostFile, error)
	// Layers returns what opens the files that an image names, if the user asks to
	// follow them. Nil: files in the directory of the image, and in those that are
	// allowed.
	Layers func(image string, allowed []string) (Layers, error)
	// Interruptible returns a context that an interrupt cancels. Only commands
	// that can run for long ask for one, as it costs a tenth of the start-up; an
	// interrupt ends the others at once. Nil: interrupts cancel no context.
	Interruptible func(context.Context) (context.Context, context.CancelFunc)
}

// app is one run of the command: the process, and the flags that all
// subcommands share.
type app struct {
	Process
	output   *choice[render.Format]
	color    *choice[colorMode]
	noLimits bool
	hinted   string       // the last hint given
	texts    stickyWriter // takes what Cobra writes to standard output
}

// Execute runs the command and returns its exit status.
func Execute(ctx context.Context, p Process) int {
	if p.Open == nil {
		p.Open = openFile
	}
	if p.OpenHostFile == nil {
		p.OpenHostFile = func(name string) (HostFile, error) { return qcow2.OpenHostFile(nil, name) }
	}
	if p.Layers == nil {
		p.Layers = openFolders
	}
	a := &app{Process: p, texts: stickyWriter{w: p.Stdout}}
	root := a.newRootCommand()
	root.SetArgs(p.Args)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if a.texts.err != nil { // help and completion scripts
		err = &outputError{a.texts.err}
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return int(e.code)
	}
	if err != nil {
		a.complain("", err)
		return int(exitFailed)
	}
	return int(exitOK)
}

// noArguments checks the arguments of a command that takes none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

// oneImage checks the arguments of a command that takes one image.
func oneImage(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError(cmd, errors.New("this command takes one image"))
	}
	return images(cmd, args)
}

// images checks the arguments of a command that takes one image or several.
func images(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError(cmd, errors.New("no image given"))
	}
	return nil
}

// must panics on an error that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic("cmd: " + err.Error())
	}
}
