package cmd

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/render"
)

// newTestReport returns a report that writes a document in a format.
func newTestReport(ctx context.Context, f render.Format, out *strings.Builder) (*report, render.Renderer) {
	r := render.New(f, out, render.Options{})
	r.Begin(render.Document{Schema: "s/1", Filename: "a"})
	return &report{Sections: r, ctx: ctx}, r
}

// numbersSection declares a list that says when it is empty.
func numbersSection() *render.Section {
	return &render.Section{Key: "numbers", Layout: render.LayoutList, Empty: "no numbers", Columns: []render.Column{{Key: "n", Title: "N", Kind: render.KindUint}}}
}

// sequence yields errors, and numbers from 1 to n.
func sequence(n uint64, errs ...error) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for _, err := range errs {
			if !yield(0, err) {
				return
			}
		}
		for i := range n {
			if !yield(i+1, nil) {
				return
			}
		}
	}
}

// TestEach: errors of a sequence are damage, and hide nothing else.
func TestEach(t *testing.T) {
	bad, worse := errors.New("bad"), errors.New("worse")
	for _, test := range []struct {
		name string
		seq  iter.Seq2[uint64, error]
		code exitCode
		errs int
		want string
	}{
		{"empty", sequence(0), exitOK, 0, "no numbers\n"},
		{"damaged", sequence(0, bad), exitDamaged, 1, ""},
		{"damaged in part", sequence(1, bad, worse), exitDamaged, 2, "┌───┐\n│ N │\n├───┤\n│ 1 │\n└───┘\n"},
	} {
		var out strings.Builder
		rep, r := newTestReport(t.Context(), render.FormatTable, &out)
		rep.Section(numbersSection())
		err := each(rep, test.seq, func(n uint64) error { return rep.Row([]render.Value{render.Uint(n)}) })
		if err != nil || r.End() != nil || rep.failures.code != test.code || len(rep.failures.list) != test.errs {
			t.Errorf("%s: error %v, status %d, damage %v", test.name, err, rep.failures.code, rep.failures.list)
		}
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestEachEnds: at an error of show, and when the run is interrupted.
func TestEachEnds(t *testing.T) {
	full := errors.New("full")
	rep, _ := newTestReport(t.Context(), render.FormatPlain, &strings.Builder{})
	shown := 0
	if err := each(rep, sequence(9), func(uint64) error { shown++; return full }); !errors.Is(err, full) || shown != 1 {
		t.Errorf("shown %d times, error %v, want once, %v", shown, err, full)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rep, _ = newTestReport(ctx, render.FormatPlain, &strings.Builder{})
	shown = 0
	if err := each(rep, sequence(9, ctx.Err()), func(uint64) error { shown++; return nil }); err != nil || shown != 0 || rep.failures.list != nil {
		t.Errorf("the sequence ends with the context's error: shown %d times, error %v, damage %v", shown, err, rep.failures.list)
	}
	rep.calls = 0
	if err := each(rep, sequence(2*interruptEvery), func(uint64) error { shown++; return nil }); err != nil || shown != interruptEvery-1 {
		t.Errorf("an endless sequence: shown %d times, error %v, want %d", shown, err, interruptEvery-1)
	}
}

// TestNest: what a command shows is an object, its damage that of the whole, its
// error that of nest.
func TestNest(t *testing.T) {
	bad, unsupported := errors.New("bad"), errors.New("unsupported")
	var out strings.Builder
	rep, r := newTestReport(t.Context(), render.FormatNDJSON, &out)
	show := func(rep *report) error {
		rep.damaged(bad)
		rep.facts(&render.Section{}, fact{render.Column{Key: "n", Kind: render.KindUint}, render.Uint(1)})
		rep.none("list")
		return nil
	}
	if err := rep.nest("check", show); err != nil {
		t.Error(err)
	}
	if err := rep.nest("usage", func(*report) error { return unsupported }); !errors.Is(err, unsupported) {
		t.Errorf("error %v, want %v", err, unsupported)
	}
	rep.facts(&render.Section{}, fact{render.Column{Key: "last", Kind: render.KindBool}, render.Bool(true)})
	if err := r.End(); err != nil {
		t.Error(err)
	}
	want := `{"schema":"s/1","filename":"a","filename-hex":null,"check":{"n":1,"list":null},"usage":{},"last":true}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if rep.failures.code != exitDamaged || len(rep.failures.list) != 1 {
		t.Errorf("damage %v, status %d", rep.failures.list, rep.failures.code)
	}
}
