// Qinspect looks inside qcow2 disk images. See the README.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/qinspect/qinspect/cmd"
)

// version is set by the linker in releases.
var version string

func main() {
	os.Exit(cmd.Execute(context.Background(), cmd.Process{
		Args:          os.Args[1:],
		Stdout:        os.Stdout,
		Stderr:        os.Stderr,
		Version:       version,
		Interruptible: interruptible,
	}))
}

// interruptible returns a context that the first interrupt cancels. A second
// one ends the process.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
