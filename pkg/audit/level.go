package audit

import (
	"fmt"
	"slices"
)

// A Level says what it means for the image when a rule fails.
type Level uint8

// The levels.
const (
	LevelOff    Level = iota // the rule is not looked at
	LevelNote                // worth knowing
	LevelWarn                // likely not what is wanted
	LevelReject              // the image is rejected
)

// LevelNames returns the names of the levels in their order.
func LevelNames() []string { return []string{"off", "note", "warn", "reject"} }

// String returns the name of the level.
func (l Level) String() string { return nameIn(LevelNames(), l) }

// ParseLevel returns the level of a name, and whether there is one.
func ParseLevel(name string) (Level, bool) {
	i := slices.Index(LevelNames(), name)
	return Level(max(i, 0)), i >= 0
}

// A Verdict is what an audit comes to.
type Verdict uint8

// The verdicts.
const (
	Accept Verdict = iota
	Reject
)

// VerdictNames returns the names of the verdicts in their order.
func VerdictNames() []string { return []string{"accept", "reject"} }

// String returns the name of the verdict.
func (v Verdict) String() string { return nameIn(VerdictNames(), v) }

// An Outcome is how the image fared with a rule.
type Outcome uint8

// The outcomes.
const (
	Pass Outcome = iota
	Fail
	NotChecked // the rule could not be checked
	Off        // its level is off, or the options leave it out
)

// OutcomeNames returns the names of the outcomes in their order.
func OutcomeNames() []string { return []string{"pass", "fail", "not-checked", "off"} }

// String returns the name of the outcome.
func (o Outcome) String() string { return nameIn(OutcomeNames(), o) }

// nameIn returns the i-th name.
func nameIn[T ~uint8](names []string, i T) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown-%d", i)
}
