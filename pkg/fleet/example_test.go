package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"runtime"
	"slices"
	"sync"

	"github.com/qinspect/qinspect/pkg/fleet"
)

// A pool of workers scans a directory, and stops at the first image that is damaged.
func Example() {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	found := make(chan fleet.Found)
	go func() {
		defer close(found)
		for f := range new(fleet.Search).Find(ctx, slices.Values([]string{"../../testdata/images"})) {
			select {
			case found <- f:
			case <-ctx.Done():
				return
			}
		}
	}()

	var scanner fleet.Scanner
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for f := range found {
				row, err := scanner.Look(ctx, f)
				switch {
				case errors.Is(err, fleet.ErrNoImage), errors.Is(err, fleet.ErrVanished), ctx.Err() != nil:
				case err != nil:
					cancel(err)
				case row.Status == fleet.StatusErrors:
					cancel(fmt.Errorf("%s is damaged: %s", row.Name, row.Message()))
				}
			}
		})
	}
	workers.Wait()

	if err := context.Cause(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("no image is damaged")
	// Output: no image is damaged
}

// Rows add up.
func ExampleTotals() {
	ctx := context.Background()
	var scanner fleet.Scanner
	var totals fleet.Totals
	for f := range new(fleet.Search).Find(ctx, slices.Values([]string{"../../testdata/images/snapshots.qcow2", "../../testdata/images/v3.qcow2"})) {
		row, err := scanner.Look(ctx, f)
		if err != nil {
			log.Fatal(err)
		}
		totals.Add(row)
	}
	fmt.Printf("%d images, %d ok, snapshots hold %d bytes\n", totals.Images, totals.ByStatus[fleet.StatusOK], totals.SnapshotsOnly)
	// Output: 2 images, 2 ok, snapshots hold 7680 bytes
}
