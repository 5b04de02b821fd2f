package cmd

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// numbers yields 0 to n-1, and counts them.
func numbers(n int, begun *atomic.Int64) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			begun.Add(1)
			if !yield(i) {
				return
			}
		}
	}
}

// TestInOrder: whatever takes longest, results come in the order of the items, each
// once, and no more run or wait than may.
func TestInOrder(t *testing.T) {
	const n = 100
	for _, s := range []side{{1, 1}, {2, 2}, {3, 8}, {8, 8}, {8, 200}, {200, 200}} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun, running atomic.Int64
				var mu sync.Mutex
				var most int64
				var got, want []int
				work := func(i int, _ <-chan struct{}) int {
					now := running.Add(1)
					defer running.Add(-1)
					mu.Lock()
					most = max(most, now)
					mu.Unlock()
					time.Sleep(time.Duration(i*7919%13) * time.Second)
					return i
				}
				inOrder(s, numbers(n, &begun), work, func(i int) bool {
					if ahead := int(begun.Load()) - len(got); ahead > s.ahead+2 { // one more is in the hands of the feeder
						t.Errorf("%d items are begun and not taken, want %d at most", ahead, s.ahead)
					}
					got = append(got, i)
					return true
				})
				for i := range n {
					want = append(want, i)
				}
				if !slices.Equal(got, want) {
					t.Errorf("order (-want +got):\n%s", cmp.Diff(want, got))
				}
				if most > int64(s.jobs) {
					t.Errorf("%d at a time, want %d at most", most, s.jobs)
				}
			})
		})
	}
}

// TestInOrderTurn: an item has its turn when those before it were taken, and not
// before.
func TestInOrderTurn(t *testing.T) {
	var taken atomic.Int64
	var begun atomic.Int64
	work := func(i int, turn <-chan struct{}) int {
		<-turn
		if n := taken.Load(); n != int64(i) {
			t.Errorf("item %d has its turn when %d were taken", i, n)
		}
		return i
	}
	inOrder(side{4, 4}, numbers(50, &begun), work, func(int) bool { taken.Add(1); return true })
	if taken.Load() != 50 {
		t.Errorf("%d taken, want 50", taken.Load())
	}
}

// TestInOrderStops: after take returned false nothing more begins, what waits for its
// turn goes on, and nothing is left running.
func TestInOrderStops(t *testing.T) {
	for _, jobs := range []int{1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			var begun, ended atomic.Int64
			var got []int
			work := func(i int, turn <-chan struct{}) int {
				<-turn
				ended.Add(1)
				return i
			}
			inOrder(side{jobs, jobs}, numbers(1000, &begun), work, func(i int) bool { got = append(got, i); return i < 3 })
			if want := []int{0, 1, 2, 3}; !slices.Equal(got, want) {
				t.Errorf("%d jobs: took %d, want %d", jobs, got, want)
			}
			n := begun.Load()
			if n > int64(4+2*jobs+1) {
				t.Errorf("%d jobs: %d items were begun", jobs, n)
			}
			if left := n - ended.Load(); left < 0 || left > 1 { // one may be in the hands of the feeder
				t.Errorf("%d jobs: %d items were begun, the work of %d has ended", jobs, n, ended.Load())
			}
		})
	}
}
