package audit

import "maps"

// DefaultMaxRatio is the [Policy.MaxRatio] of the policies of this package.
const DefaultMaxRatio = 100

// A Policy says how grave each rule is, and the limits of those that have one. It
// is a value: [Policy.With] returns another.
type Policy struct {
	Name string
	// MaxVirtualSize is the largest disk for "virtual-size", in bytes; 0: there is no
	// limit, and the rule is off.
	MaxVirtualSize uint64
	// MaxRatio is how many times the size of the file the guest data may be, for
	// "ratio".
	MaxRatio uint64

	levels map[ID]Level
}

// Default returns the policy "default": it rejects what can harm the host or
// another image.
func Default() Policy {
	return newPolicy("default", func(r *Rule) Level { return r.Default })
}

// Strict returns the policy "strict": it rejects what "default" warns of, leaked
// clusters, and bytes in free clusters.
func Strict() Policy {
	return newPolicy("strict", func(r *Rule) Level { return r.Strict })
}

// PolicyNames returns the names of the policies of this package.
func PolicyNames() []string { return []string{"default", "strict"} }

// PolicyNamed returns the policy with a name, and whether there is one.
func PolicyNamed(name string) (Policy, bool) {
	switch name {
	case "default":
		return Default(), true
	case "strict":
		return Strict(), true
	}
	return Policy{}, false
}

func newPolicy(name string, level func(*Rule) Level) Policy {
	p := Policy{Name: name, MaxRatio: DefaultMaxRatio, levels: map[ID]Level{}}
	for _, r := range Rules() {
		p.levels[r.ID] = level(&r)
	}
	return p
}

// Level returns the level of a rule. One that the policy does not know rejects:
// the zero Policy rejects all that fails.
func (p Policy) Level(id ID) Level {
	if l, ok := p.levels[id]; ok {
		return l
	}
	return LevelReject
}

// With returns the policy with another level for a rule.
func (p Policy) With(id ID, l Level) Policy {
	levels := maps.Clone(p.levels)
	if levels == nil {
		levels = map[ID]Level{}
	}
	levels[id] = l
	p.levels = levels
	return p
}
