package fleet

import (
	"context"
	"sync/atomic"
	"time"
)

// grace is how long a call may take to notice that its context is done.
const grace = 100 * time.Millisecond

// within calls f and returns what it returns. If f does not end soon after the
// context is done, it is abandoned: ok is false, and late is called when f ends after
// all. A read that hangs in the kernel, such as from a server that is gone, cannot be
// ended.
func within[T any](ctx context.Context, f func() T, late func()) (result T, ok bool) {
	done := make(chan T, 1)
	var decided atomic.Bool // that it ended, or that it is abandoned: whatever came first
	go func() {
		v := f()
		if decided.CompareAndSwap(false, true) {
			done <- v
		} else {
			late()
		}
	}()
	select {
	case result = <-done:
		return result, true
	case <-ctx.Done():
	}
	select {
	case result = <-done:
		return result, true
	case <-time.After(grace):
		if decided.CompareAndSwap(false, true) {
			return result, false
		}
		return <-done, true
	}
}
