package cmd

import (
	"cmp"
	"errors"
	"math"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// What the commands that list clusters share.

// lasting returns a RunE whose context an interrupt cancels.
func (a *app) lasting(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.Interruptible != nil {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			cmd.SetContext(ctx)
		}
		return run(cmd, args)
	}
}

// mappable returns the geometry of an image whose tables can be understood.
func (rep *report) mappable() (qcow2.Geometry, error) {
	if err := rep.img.Supported(); err != nil {
		return qcow2.Geometry{}, err
	}
	return rep.img.Geometry()
}

// damagedPlaces counts places with problems. Several rows can be about one.
type damagedPlaces struct {
	one, many string // what the places are called
	n         uint64
	last      uint64 // the last one, + 1
}

// damagedClusters counts host clusters.
func damagedClusters() damagedPlaces {
	return damagedPlaces{one: "cluster with damaged references", many: "clusters with damaged references"}
}

// add counts n places from one on, unless that is the last again.
func (d *damagedPlaces) add(place, n uint64, problems qcow2.Problems) {
	if problems != 0 && d.last != place+n {
		d.n, d.last = d.n+n, place+n
	}
}

// report makes them an error of the image.
func (d *damagedPlaces) report(rep *report) {
	if d.n > 0 {
		rep.damaged(errors.New(counted(d.n, d.one, d.many)))
	}
}

// A window is the flags that narrow a listing: --offset and --length, or --at.
type window struct{ offset, length, at address }

// check returns an error where flags were given that do not go together.
func (w *window) check(cmd *cobra.Command) error {
	if w.at.given() && (w.offset.given() || w.length.given()) {
		return usageError(cmd, errors.New("--at goes without --offset and --length"))
	}
	if w.length.given() && w.length.n == 0 {
		return usageError(cmd, errors.New("--length must be more than 0"))
	}
	return nil
}

// bytes returns the range that the flags select. A length of 0 goes to the end.
func (w *window) bytes(clusterBits uint) (first, n uint64, err error) {
	if w.at.given() {
		first, err = w.at.bytes(clusterBits)
		return first, 1, err
	}
	first, err1 := w.offset.bytes(clusterBits)
	n, err2 := w.length.bytes(clusterBits)
	if err := cmp.Or(err1, err2); err != nil {
		return 0, 0, err
	}
	return first, min(n, math.MaxUint64-first), nil
}
