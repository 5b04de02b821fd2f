// Qinspect looks inside qcow2 disk images. See the README.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/qinspect/qinspect/cmd"
)

// version is set by the linker in releases.
var version string

func main() {
	os.Exit(cmd.Execute(context.Background(), cmd.Process{
		Args:          os.Args[1:],
		Stdin:         os.Stdin,
		Stdout:        os.Stdout,
		Stderr:        os.Stderr,
		Version:       version,
		Interruptible: interruptible,
	}))
}

// interruptible returns a context that the first signal cancels which asks the
// process to end. A second one ends it. A signal that is ignored stays so, as under
// nohup.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			number, _ := s.(syscall.Signal) // all of them are
			cancel(cmd.Interruption(128 + int(number)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
