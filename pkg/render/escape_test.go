package render

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"disk.qcow2", "disk.qcow2"},
		{`say "hi"`, `say "hi"`},
		{`a\b`, `a\\b`},
		{`\"`, `\\"`},
		{`\\"`, `\\\\"`},
		{"é\"", `é"`},
		{"\n\t\x00\x7f", `\n\t\x00\x7f`},
		{"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"\x1b]0;title\a", `\x1b]0;title\a`},
		{"\xff\xfe", `\xff\xfe`},
		{"snap\u202etxt", `snap\u202etxt`}, // turns the direction of writing
		{"\u009b31m", `\u009b31m`},         // the control character of eight bits
		{"a\u00a0b\u2028\ufeff", `a\u00a0b\u2028\ufeff`},
		{"\U000e0041", `\U000e0041`},
		{"快照 é 🙂", "快照 é 🙂"},
		{"\ufffd", "\ufffd"}, // in the image as such, and told from \xff
		{" padded ", " padded "},
	}
	for _, tt := range tests {
		if got := Escape(tt.in); got != tt.want {
			t.Errorf("Escape(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := string(appendEscaped([]byte("k: "), tt.in)); got != "k: "+tt.want {
			t.Errorf("appendEscaped(%q) = %q, want %q", tt.in, got, "k: "+tt.want)
		}
	}
}

// unescape is the inverse of Escape.
func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", `\`, `\\"`, `"`, "\x1b[2J", "\xe2\x82", "é\u202e\ufffd", "磁盘\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		escaped := Escape(in)
		if !utf8.ValidString(escaped) {
			t.Errorf("Escape(%q) = %q is not valid UTF-8", in, escaped)
		}
		for _, r := range escaped {
			if !strconv.IsPrint(r) {
				t.Errorf("Escape(%q) = %q has %q", in, escaped, r)
			}
		}
		if got, err := unescape(escaped); err != nil || got != in {
			t.Errorf("Escape(%q) = %q, which is read as %q, %v", in, escaped, got, err)
		}
	})
}

// decodeString returns what another reader of JSON takes a string for.
func decodeString(t *testing.T, s string) string {
	t.Helper()
	encoded := appendJSONString(nil, s)
	var got string
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Errorf("appendJSONString(%q) = %s: %v", s, encoded, err)
	}
	return got
}

func TestAppendJSONStringValid(t *testing.T) {
	var all strings.Builder
	for c := range rune(0x250) {
		all.WriteRune(c)
	}
	for _, s := range []string{
		"", "disk.qcow2", `"quoted" \ and / too`, "</script>&", "\u2028\u2029\ufeff",
		"快照", "🙂👍🏽", "\ufffd", "\ufdd0\uffff\U0010ffff", all.String(),
	} {
		if got := decodeString(t, s); got != s {
			t.Errorf("%q is decoded as %q", s, got)
		}
	}
}

func TestAppendJSONStringBytes(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{`a"b\c`, `"a\"b\\c"`},
		{"\x00\n\x1b\x7f", `"\u0000\u000a\u001b\u007f"`},
		{"é/快", `"é/快"`},
		{"\u0080\u009b31m\u009f\u00a0", "\"\\u0080\\u009b31m\\u009f\u00a0\""},
		{"\u2027\u2028\u2029\u202a\u202e\u202f", "\"\u2027\\u2028\\u2029\\u202a\\u202e\u202f\""},
		{"\u2065\u2066\u2069\u206a", "\"\u2065\\u2066\\u2069\u206a\""},
	}
	for _, tt := range tests {
		if got := string(appendJSONString([]byte("x"), tt.in)); got != "x"+tt.want {
			t.Errorf("appendJSONString(%q) appends %s, want %s", tt.in, got[1:], tt.want)
		}
	}
}

// Each ill-formed sequence is one U+FFFD, here ".", and what follows it is as
// it was.
func TestAppendJSONStringInvalid(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"two bytes that begin nothing", "\xff\xfe", ".."},
		{"continuation without a beginning", "a\x80\xbfb", "a..b"},
		{"cut at the end", "\xe2\x82", "."},
		{"cut at the end after one byte", "\xf0", "."},
		{"cut by ASCII", "\xe2\x82a", ".a"},
		{"cut by another sequence", "\xe2\x82é", ".é"},
		{"cut by another beginning", "\xf0\x9f\xe2\x82", ".."},
		{"overlong of two bytes", "\xc0\xafa", ".a"},
		{"overlong of three bytes", "\xe0\x80\xaf", "."},
		{"overlong of four bytes", "\xf0\x80\x80\xaf", "."},
		{"high surrogate", "\xed\xa0\x80", "."},
		{"pair of surrogates", "\xed\xa0\x80\xed\xb0\x80", ".."},
		{"beyond U+10FFFF", "\xf4\x90\x80\x80", "."},
		{"five bytes", "\xf8\x88\x80\x80\x80", "."},
		{"six bytes", "\xfc\x84\x80\x80\x80\x80", "."},
		{"one continuation too many", "\xc3\xa9\x80", "é."},
		{"six bytes and one too many", "\xfc\x84\x80\x80\x80\x80\x80", ".."},
		{"U+FFFD itself", "\xef\xbf\xbd\xff", ".."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.ReplaceAll(tt.want, ".", "\ufffd")
			if got := decodeString(t, tt.in); got != want {
				t.Errorf("%q is decoded as %q, want %q", tt.in, got, want)
			}
		})
	}
}

func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", `"\`, "\x00\x7f", "\xff\xfe", "\xe2\x82", "\xed\xa0\x80", "é\u2028\ufffd", "\xf4\x90\x80\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		encoded := appendJSONString(nil, in)
		if !json.Valid(encoded) || !utf8.Valid(encoded) {
			t.Fatalf("appendJSONString(%q) = %q is not valid", in, encoded)
		}
		got := decodeString(t, in)
		if utf8.ValidString(in) && got != in {
			t.Errorf("%q is decoded as %q", in, got)
		}
		if !utf8.ValidString(in) && !strings.ContainsRune(got, utf8.RuneError) {
			t.Errorf("%q is decoded as %q: nothing says that it was not valid", in, got)
		}
	})
}
