package cmd

import (
	"context"
	"errors"
	"fmt"
)

// An exitCode is the exit status of the process.
type exitCode int

const (
	exitOK          exitCode = 0
	exitFailed      exitCode = 1   // could not do it; nothing could be shown
	exitDamaged     exitCode = 2   // something that was read is damaged
	exitLeaks       exitCode = 3   // clusters leak, and nothing else is wrong
	exitInterrupted exitCode = 130 // by SIGINT; other signals: 128 and their number
)

// severity orders exit codes for several images: the most severe is the
// status of the run.
func (c exitCode) severity() int {
	switch c {
	case exitOK:
		return 0
	case exitLeaks:
		return 1
	case exitDamaged:
		return 2
	case exitFailed:
		return 3
	}
	return 4
}

// worse returns the more severe of two codes.
func worse(a, b exitCode) exitCode {
	if b.severity() > a.severity() {
		return b
	}
	return a
}

// An Interruption is the cause of a context that a signal cancelled. Its number is
// the exit status that the signal calls for: 128 and the number of the signal.
type Interruption int

// Error returns "interrupted".
func (Interruption) Error() string { return "interrupted" }

// interruptedBy returns the status of a run whose context is done.
func interruptedBy(ctx context.Context) exitCode {
	if i, ok := errors.AsType[Interruption](context.Cause(ctx)); ok {
		return exitCode(i)
	}
	return exitInterrupted
}

// An exitError ends the run with a status. All messages have been written.
type exitError struct{ code exitCode }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }
