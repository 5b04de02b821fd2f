package qcow2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// compareSurvey returns in what Survey differs from Check and Usage: the results, the
// findings, and what damage is told.
func compareSurvey(t *testing.T, img *qcow2.Image) []string {
	t.Helper()
	var findings, surveyed, damage, surveyedDamage []string
	take := func(all *[]string) func(*qcow2.Finding) bool {
		return func(f *qcow2.Finding) bool { *all = append(*all, finding(f)+" "+f.Detail); return true }
	}
	keep := func(all *[]string) func(error) {
		return func(err error) { *all = append(*all, err.Error()) }
	}
	result, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: take(&findings)})
	if err != nil {
		t.Fatal(err)
	}
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{Damage: keep(&damage)})
	if err != nil {
		t.Fatal(err)
	}
	gotResult, gotUsage, err := img.Survey(t.Context(), qcow2.CheckOptions{Finding: take(&surveyed)}, qcow2.UsageOptions{Damage: keep(&surveyedDamage)})
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for _, c := range []struct {
		what      string
		want, got any
	}{{"check", result, gotResult}, {"findings", findings, surveyed}, {"usage", usage, gotUsage}, {"damage", damage, surveyedDamage}} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			wrong = append(wrong, fmt.Sprintf("%s (-alone +survey):\n%s", c.what, diff))
		}
	}
	return wrong
}

// TestSurvey: a survey is check and usage, of healthy images and of those that are
// broken in every way that is known.
func TestSurvey(t *testing.T) {
	compare := func(name string, img *qcow2.Image, err error) {
		if err != nil || img.Supported() != nil {
			return
		}
		for _, wrong := range compareSurvey(t, img) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	for name, b := range qcow2test.Malformed() {
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		compare(name, img, err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		b := randomHostImage(r).Build()
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		compare(fmt.Sprint("random image ", i), img, err)
	}
	files, err := filepath.Glob("../../testdata/images/*.qcow2")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := qcow2.OpenFile(name)
		if err != nil {
			continue
		}
		compare(name, f.Image, nil)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A l2Counter counts how often the byte at an offset is read.
type l2Counter struct {
	io.ReaderAt
	offset int64
	reads  int
}

func (c *l2Counter) ReadAt(p []byte, off int64) (int, error) {
	if off <= c.offset && c.offset < off+int64(len(p)) {
		c.reads++
	}
	return c.ReaderAt.ReadAt(p, off)
}

// TestSurveyReads: a survey reads an L2 table once, as check alone does.
func TestSurveyReads(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 512 << 20, Clusters: kinds{0: data, 5: data, 9: zero}}.Build()
	reads := func(do func(img *qcow2.Image) error) int {
		c := &l2Counter{ReaderAt: b.Reader(), offset: int64(b.Get("l1[0]") &^ (1 << 63))}
		img, err := qcow2.Open(c, int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		if err := do(img); err != nil {
			t.Fatal(err)
		}
		return c.reads
	}
	if n := reads(func(img *qcow2.Image) error {
		_, err := img.Check(t.Context(), qcow2.CheckOptions{})
		return err
	}); n != 1 {
		t.Errorf("check reads the table %d times, want once", n)
	}
	if n := reads(func(img *qcow2.Image) error {
		_, _, err := img.Survey(t.Context(), qcow2.CheckOptions{}, qcow2.UsageOptions{})
		return err
	}); n != 1 {
		t.Errorf("survey reads the table %d times, want once", n)
	}
}

// TestSurveyEnds: what ends a survey early leaves no usage.
func TestSurveyEnds(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 8 << 9, Clusters: kinds{0: data}}.Build().Set("refcount[5]", 7)
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	if _, u, err := img.Survey(t.Context(), qcow2.CheckOptions{Finding: func(*qcow2.Finding) bool { return false }}, qcow2.UsageOptions{}); u != nil || err != nil {
		t.Errorf("%v, %v after the first finding, want no usage and no error", u, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, u, err := img.Survey(ctx, qcow2.CheckOptions{}, qcow2.UsageOptions{}); u != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v, want no usage and %v", u, err, context.Canceled)
	}
	b = qcow2test.Image{ClusterBits: 9, Size: 8 << 9}.Build().Set("incompatible_features", 1<<9)
	if img, err = qcow2.Open(b.Reader(), int64(len(b.Bytes))); err != nil {
		t.Fatal(err)
	}
	if _, u, err := img.Survey(t.Context(), qcow2.CheckOptions{}, qcow2.UsageOptions{}); u != nil || !errors.Is(err, qcow2.ErrUnsupported) {
		t.Errorf("%v, %v, want no usage and %v", u, err, qcow2.ErrUnsupported)
	}
}
