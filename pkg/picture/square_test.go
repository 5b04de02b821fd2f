package picture

import "testing"

// TestShown: over many squares of which each has all classes, each class paints its
// share; one leaked cluster, or one with problems, paints its square.
func TestShown(t *testing.T) {
	p := &Picture{ClusterSize: 1, Squares: make([]Square, 1000)}
	for i := range p.Squares {
		p.Squares[i].Bytes = [Classes]uint64{Metadata: 1, Active: 249, Shared: 500, Free: 250}
	}
	p.Squares[7].Bytes[Leaked] = 1
	p.Squares[8].Bytes[Conflict] = 1
	p.Squares[9] = Square{Bytes: [Classes]uint64{Leaked: 1000, Conflict: 1}}
	painted := [Classes]int{}
	for i := range p.Squares {
		painted[p.Shown(i)]++
	}
	for c, want := range [Classes]int{Metadata: 1, Active: 248, Shared: 499, Free: 249, Leaked: 1, Conflict: 2} {
		if got := painted[c]; got < want-2 || got > want+2 {
			t.Errorf("%v paints %d squares, want about %d", Class(c), got, want)
		}
	}
	if painted[Leaked] != 1 || painted[Conflict] != 2 {
		t.Errorf("%d leaked and %d in conflict, want 1 and 2", painted[Leaked], painted[Conflict])
	}
}

func TestRunShades(t *testing.T) {
	for _, tt := range []struct {
		square Square
		want   string
	}{
		{Square{Bytes: [Classes]uint64{Active: 4 << 9}, Runs: 1, RunLength: 1 << 9}, "run-0"},
		{Square{Bytes: [Classes]uint64{Active: 4 << 9}, RunLength: 3 << 9}, "run-1"},
		{Square{Bytes: [Classes]uint64{Active: 4 << 9}, RunLength: 1023 << 9}, "run-9"},
		{Square{Bytes: [Classes]uint64{VMState: 4 << 9}, RunLength: 1 << 40}, "run-10"},
		{Square{Bytes: [Classes]uint64{Active: 64 << 9}, Runs: 8, RunLength: 1 << 40}, "run-3"},
		{Square{Bytes: [Classes]uint64{Free: 4 << 9}, RunLength: 4 << 9}, "run-none"},
		{Square{Bytes: [Classes]uint64{Active: 1 << 40, Leaked: 1 << 9}, RunLength: 1 << 40}, "run-none"},
	} {
		p := &Picture{ClusterSize: 1 << 9, Squares: []Square{tt.square}}
		if got := p.shade(0, ByRuns).look().key; got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.square, got, tt.want)
		}
	}
}

// TestLooks: no two shades of a picture have one letter, key or colour.
func TestLooks(t *testing.T) {
	seen := map[any]string{}
	for _, l := range looks {
		if l.key == "" {
			t.Fatal("a shade has no look")
		}
		for _, v := range []any{l.letter, l.key, "light " + l.light, "dark " + l.dark} {
			if other, ok := seen[v]; ok {
				t.Errorf("%s and %s are both %v", l.key, other, v)
			}
			seen[v] = l.key
		}
	}
}
