package cmd

import (
	"iter"
	"sync"
)

// A side is how many things are done side by side, and how many that are begun may
// wait for their turn: those being done are among them.
type side struct{ jobs, ahead int }

// inOrder calls work for each item, for several at a time, and take with what work
// returns, in the order of the items, one after the other. The turn of an item is
// closed when all before it have been taken. If take returns false, no more work
// begins, and what is under way ends untaken.
//
// All calls of work have returned when inOrder does.
func inOrder[T, R any](s side, items iter.Seq[T], work func(item T, turn <-chan struct{}) R, take func(R) bool) {
	if s.jobs <= 1 {
		inTurn(items, work, take)
		return
	}
	begun := make(chan pending[R], max(s.ahead, s.jobs)-1) // one is in the hands of the taker
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(begun)
		begin(s.jobs, items, work, begun, stop, &all)
	})
	for p := range begun {
		close(p.turn)
		if !take(<-p.result) {
			close(stop)
			break
		}
	}
	for p := range begun { // after a stop
		close(p.turn)
	}
	all.Wait()
}

// inTurn is inOrder for one at a time.
func inTurn[T, R any](items iter.Seq[T], work func(item T, turn <-chan struct{}) R, take func(R) bool) {
	turn := make(chan struct{})
	close(turn)
	for item := range items {
		if !take(work(item, turn)) {
			return
		}
	}
}

// A pending is an item whose work has begun.
type pending[R any] struct {
	turn   chan struct{}
	result chan R // has room for it
}

// begin begins the work of each item when there is room for it, until stop is closed.
func begin[T, R any](jobs int, items iter.Seq[T], work func(item T, turn <-chan struct{}) R, begun chan<- pending[R], stop <-chan struct{}, all *sync.WaitGroup) {
	room := make(chan struct{}, jobs)
	for item := range items {
		select {
		case room <- struct{}{}:
		case <-stop:
			return
		}
		p := pending[R]{make(chan struct{}), make(chan R, 1)}
		select {
		case begun <- p:
		case <-stop:
			return
		}
		all.Go(func() {
			p.result <- work(item, p.turn)
			<-room
		})
	}
}
