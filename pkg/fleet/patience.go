package fleet

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// grace is how long a call may take to notice that its context is done.
	grace = 100 * time.Millisecond
	// maxHanging is how many calls may hang: each keeps a thread of the system.
	maxHanging = 256
)

// A patience knows how many calls hang: the system may never end them, such as a read
// from a server that is gone.
type patience struct{ hanging atomic.Int64 }

// within calls f and returns what it returns. When f does not end before limit, if
// that is not 0, or soon after the context is done, it is abandoned: nothing can end a
// read that hangs in the kernel. The error is then an [ErrTimeout], or that of the
// context.
func within[T any](ctx context.Context, p *patience, limit time.Duration, f func(context.Context) T) (result T, err error) {
	if p.hanging.Load() >= maxHanging {
		return result, fmt.Errorf("%w: not looked at, as %d others hang", ErrTimeout, maxHanging)
	}
	own, cancel := ctx, func() {}
	if limit > 0 {
		own, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	done := make(chan T, 1)
	var decided atomic.Bool // that it ended, or that it is abandoned: whatever came first
	go func() {
		v := f(own)
		if decided.CompareAndSwap(false, true) {
			done <- v
		} else {
			p.hanging.Add(-1)
		}
	}()
	select {
	case result = <-done:
		return result, nil
	case <-own.Done():
	}
	select {
	case result = <-done:
	case <-time.After(grace):
		p.hanging.Add(1) // before it can end
		if decided.CompareAndSwap(false, true) {
			return result, cmp.Or(ctx.Err(), late(limit))
		}
		p.hanging.Add(-1)
		result = <-done
	}
	return result, nil
}

// late is the error for what took longer than a limit.
func late(limit time.Duration) error { return fmt.Errorf("%w after %v", ErrTimeout, limit) }
