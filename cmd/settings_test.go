package cmd

import (
	"testing"

	"github.com/spf13/pflag"
)

// TestCheckValue has values of a config file, of which a flag takes those of its
// type. Trying a value changes no flag.
func TestCheckValue(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Var(newChoice("red", "green"), "choice", "")
	flags.Var(&hostKinds{}, "kinds", "")
	flags.Bool("bool", false, "")
	flags.Uint("uint", 7, "")
	flags.Uint64("uint64", 7, "")
	flags.String("text", "", "")
	const most = 1<<64 - 1
	for name, values := range map[string]struct{ right, wrong []any }{
		"choice": {[]any{"red", "green"}, []any{"", "blue", "Red", true, 1, 1.0, nil, []any{"red"}}},
		"kinds":  {[]any{"", "data", "leaked, free"}, []any{"nonsense", "data,", 1, false, []any{"data"}}},
		"bool":   {[]any{true, false}, []any{"true", "", 1, 0.0, nil}},
		"uint":   {[]any{0, int64(5), uint64(most), 3.0, 1e15}, []any{-1, int64(-1), -1.0, 0.5, 1e20, "5", "", true, nil}},
		"uint64": {[]any{0, int64(5), uint64(most), 3.0, 1e15}, []any{-1, int64(-1), -1.0, 0.5, 1e20, "5", "", true, nil}},
		"text":   {[]any{"", "anything"}, []any{1, 1.5, true, nil}},
	} {
		flag := flags.Lookup(name)
		for _, value := range values.right {
			if err := checkValue(flag, value); err != nil {
				t.Errorf("%s does not take %#v: %v", name, value, err)
			}
		}
		for _, value := range values.wrong {
			if checkValue(flag, value) == nil {
				t.Errorf("%s takes %#v", name, value)
			}
		}
		if flag.Value.String() != flag.DefValue {
			t.Errorf("%s is now %s", name, flag.Value)
		}
	}
}

// TestCheckText: checkText is of one mind with Set.
func TestCheckText(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Var(newChoice("red", "green"), "choice", "")
	flags.Var(&hostKinds{}, "kinds", "")
	flags.Uint("uint", 7, "")
	flags.Uint64("uint64", 7, "")
	flags.String("text", "", "")
	flags.VisitAll(func(flag *pflag.Flag) {
		for _, text := range []string{"", "red", "blue", "data,free", "data,,free", "0", "007", "0x1F", "0b1", "1_000", "-1", "+1", "1.0", "18446744073709551615", "18446744073709551616"} {
			before := flag.Value.String()
			checked, changed := checkText(flag, text), flag.Value.String() != before
			if set := flag.Value.Set(text); (checked == nil) != (set == nil) || changed {
				t.Errorf("%s: %q is checked as %v, set as %v, changed by the check: %t", flag.Name, text, checked, set, changed)
			}
		}
	})
}
