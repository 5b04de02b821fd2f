package audit

import "slices"

// An ID is the stable name of a rule.
type ID string

// A Rule is one thing that is judged of an image.
type Rule struct {
	ID ID
	// About says when the rule fails, in words that follow "fails if".
	About string
	// Default and Strict are the levels in the policies of these names.
	Default, Strict Level
	// Scope is what has to be there for the rule to be looked at.
	Scope Scope

	noImage bool // it judges the file, be it an image or not
	raw     bool // it judges what was declared raw, too
	check   check
}

// A check judges an image by one rule: findings, if the rule fails; an error, if it
// cannot be checked.
type check func(*examination) ([]Finding, error)

// A Scope is what a rule looks at.
type Scope uint8

// The scopes.
const (
	ScopeHeader  Scope = iota // the first 64 KiB of the file, or the first cluster if that is larger
	ScopeImage                // the whole metadata, and the guest data that the rule names
	ScopeContent              // bytes of the file to which nothing refers, if the caller wants that
	ScopeSystem               // what the system knows of the file
)

// ScopeNames returns the names of the scopes in their order.
func ScopeNames() []string { return []string{"header", "image", "content", "system"} }

// String returns the name of the scope.
func (s Scope) String() string { return nameIn(ScopeNames(), s) }

// A RuleGroup is rules that ask alike.
type RuleGroup struct {
	Title string
	Rules []Rule
}

// RuleGroups returns all rules in their groups, in the order in which they are
// looked at.
func RuleGroups() []RuleGroup {
	return []RuleGroup{
		{"What the file is", formatRules()},
		{"Header", headerRules()},
		{"Other files that it names", nameRules()},
		{"Encryption", encryptionRules()},
		{"Resources", resourceRules()},
		{"Consistency", consistencyRules()},
		{"What else it carries", leftoverRules()},
	}
}

// Rules returns all rules in the order in which they are looked at.
func Rules() []Rule {
	var all []Rule
	for _, g := range RuleGroups() {
		all = append(all, g.Rules...)
	}
	return all
}

// FindRule returns the rule with an id, and whether there is one.
func FindRule(id ID) (Rule, bool) {
	all := Rules()
	i := slices.IndexFunc(all, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return all[i], true
}

// rejects, warns and notes return a rule of that level. In "strict", what warns
// rejects.
func rejects(id ID, about string, c check) Rule {
	return Rule{ID: id, About: about, Default: LevelReject, Strict: LevelReject, Scope: ScopeImage, check: c}
}

func warns(id ID, about string, c check) Rule {
	return Rule{ID: id, About: about, Default: LevelWarn, Strict: LevelReject, Scope: ScopeImage, check: c}
}

func notes(id ID, about string, c check) Rule {
	return Rule{ID: id, About: about, Default: LevelNote, Strict: LevelNote, Scope: ScopeImage, check: c}
}

// strictly lets the policy "strict" reject what the rule is about.
func (r Rule) strictly() Rule {
	r.Strict = LevelReject
	return r
}

// in sets the scope.
func (r Rule) in(s Scope) Rule {
	r.Scope = s
	return r
}

// ofFile marks a rule that needs no image.
func (r Rule) ofFile() Rule {
	r.noImage = true
	return r
}

// ofRaw marks a rule that judges what was declared raw, too.
func (r Rule) ofRaw() Rule {
	r.noImage, r.raw = true, true
	return r
}
