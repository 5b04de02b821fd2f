package picture

import "fmt"

// A legendEntry says what a shade means.
type legendEntry struct {
	shade shade
	text  string
}

// legend returns what the shades of a picture mean: of the classes those that it
// has, with their bytes and shares.
func (p *Picture) legend(by By, size func(uint64) string) (entries []legendEntry) {
	if by == ByRuns {
		for s := firstRunShade; int(s) < shades; s++ {
			entries = append(entries, legendEntry{s, s.look().title})
		}
		entries[0].text = "run of 1 cluster"
		return entries
	}
	all := p.Bytes()
	sum := total(&all)
	for c, n := range all {
		if n > 0 {
			s := shade(c)
			entries = append(entries, legendEntry{s, fmt.Sprintf("%s %s %s", s.look().title, size(n), share(n, sum))})
		}
	}
	return entries
}

// share returns a part of a sum as a percentage.
func share(n, sum uint64) string {
	percent := 100 * float64(n) / float64(max(sum, 1))
	if n > 0 && percent < 0.05 {
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", percent)
}
