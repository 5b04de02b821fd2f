package qcow2_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// TestBatches: what Batches yields of random images stands for what is yielded without.
func TestBatches(t *testing.T) {
	more := map[string]uint64{}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := randomImage(r).Build()
		if seed%4 != 0 {
			damage(r, b)
		}
		img := open(t, b)
		g, err := img.Geometry()
		if err != nil {
			t.Fatal(err)
		}

		var want, got []qcow2.Mapping
		o := randomOptions(r, img)
		o.PerCluster = true
		for m, err := range img.Guest(t.Context(), o) {
			if err == nil {
				want = append(want, *m)
			}
		}
		o.Batches = true
		for m, err := range img.Guest(t.Context(), o) {
			if err == nil {
				more["guest"] += m.More
				got = append(got, eachMapping(*m)...)
			}
		}
		if !slices.Equal(want, got) {
			t.Errorf("seed %d, guest (-want +got):\n%s", seed, cmp.Diff(want, got))
		}

		each := hostRanges(t, img, qcow2.HostOptions{PerCluster: true})
		var ranges []qcow2.HostRange
		for _, h := range hostRanges(t, img, qcow2.HostOptions{PerCluster: true, Batches: true}) {
			more["host"] += h.More
			ranges = append(ranges, eachRange(h, g)...)
		}
		if !slices.Equal(each, ranges) {
			t.Errorf("seed %d, host (-want +got):\n%s", seed, cmp.Diff(each, ranges))
		}
	}
	if more["guest"] == 0 || more["host"] == 0 {
		t.Errorf("there are batches of %v, want some of both", more)
	}
}

// eachMapping returns the mappings that one stands for.
func eachMapping(m qcow2.Mapping) []qcow2.Mapping {
	n := m.More + 1
	m.More = 0
	all := make([]qcow2.Mapping, n)
	for i := range all {
		all[i] = m
		m.Start += m.Length
		if m.HasHost {
			m.HostOffset += m.Length
		}
	}
	return all
}

// eachRange returns the ranges that one stands for.
func eachRange(h qcow2.HostRange, g qcow2.Geometry) []qcow2.HostRange {
	n := h.More + 1
	h.More = 0
	all := make([]qcow2.HostRange, n)
	for i := range all {
		all[i] = h
		h.Offset += h.Length
		h.Reference = following(h, g)
	}
	return all
}
