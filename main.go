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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	code := cmd.Execute(ctx, cmd.Process{
		Args:    os.Args[1:],
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Version: version,
	})
	stop()
	os.Exit(code)
}
