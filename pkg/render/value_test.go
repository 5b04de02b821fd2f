package render

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// The table in the documentation of Kind: how a value of each kind looks in a
// table, in plain lines and in JSON.
func TestKinds(t *testing.T) {
	names := []string{"dirty", "corrupt", "data-file", "bit\n3"}
	tests := []struct {
		name               string
		kind               Kind
		value              Value
		table, plain, json string
	}{
		{"null", KindUint, Null, "-", "-", `null`},
		{"null list", KindList, Null, "-", "-", `null`},
		{"true", KindBool, Bool(true), "yes", "true", `true`},
		{"false", KindBool, Bool(false), "no", "false", `false`},
		{"uint", KindUint, Uint(1234), "1234", "1234", `1234`},
		{"largest uint", KindUint, Uint(1<<64 - 1), "18446744073709551615", "18446744073709551615", `18446744073709551615`},
		{"size", KindSize, Size(65536), "64 KiB", "65536", `65536`},
		{"offset", KindOffset, Offset(0x70), "0x70", "0x70", `112`},
		{"addr", KindAddr, Addr(0x30000), "0x30000 (#3)", "0x30000 (#3)", `196608`},
		{"hex", KindHex, Hex(255), "0xff", "0xff", `"0xff"`},
		{"text", KindText, Text("a b"), "a b", "a b", `"a b"`},
		{"image text", KindImageText, ImageText("a\x1b\\\xff"), `a\x1b\\\xff`, `a\x1b\\\xff`, `"a\u001b\\` + "\ufffd" + `"`},
		{"time", KindTime, Time(1700000000), "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z", `"2023-11-14T22:13:20Z"`},
		{"duration", KindDuration, Duration(1_500_000_000), "00:00:01.500000000", "00:00:01.500000000", `1500000000`},
		{"enum", KindEnum, Enum(2), "data-file", "data-file", `"data-file"`},
		{"flags", KindFlags, Flags(0b1011), `dirty, corrupt, bit\n3`, `dirty,corrupt,bit\n3`, `["dirty","corrupt","bit\u000a3"]`},
		{"no flags", KindFlags, Flags(0), "-", "-", `[]`},
		{"bits", KindBits, Bits(0b1001), `dirty, bit\n3 (0x9)`, `0x9 dirty,bit\n3`, `{"value":"0x9","names":["dirty","bit\u000a3"]}`},
		{"no bits", KindBits, Bits(0), "none", "0x0", `{"value":"0x0","names":[]}`},
		{"list", KindList, List([]string{"a", "\x1b"}), `a, \x1b`, `a,\x1b`, `["a","\u001b"]`},
		{"empty list", KindList, List(nil), "-", "-", `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Column{Key: "k", Kind: tt.kind, Names: names}
			if got := string(appendCell(nil, c, &tt.value, 16)); got != tt.table {
				t.Errorf("table: %q, want %q", got, tt.table)
			}
			if got := string(appendPlain(nil, c, &tt.value, 16)); got != tt.plain {
				t.Errorf("plain: %q, want %q", got, tt.plain)
			}
			o := jsonObject{section: &Section{}}
			if got := string(o.appendValue(nil, c, &tt.value)); got != tt.json || !json.Valid([]byte(got)) {
				t.Errorf("json: %s, want %s", got, tt.json)
			}
		})
	}
}

// What every format shows of a value is appended, never put in place of what
// stands there already.
func TestKindsAppend(t *testing.T) {
	c := &Column{Key: "k", Kind: KindImageText}
	v := ImageText("\x1b")
	for _, got := range [][]byte{
		appendCell([]byte("before "), c, &v, 0),
		appendPlain([]byte("before "), c, &v, 0),
	} {
		if want := []byte(`before \x1b`); !bytes.Equal(got, want) {
			t.Errorf("appended %q, want %q", got, want)
		}
	}
}

func TestIsNull(t *testing.T) {
	if v := Null; !v.IsNull() {
		t.Error("Null is not null")
	}
	for _, v := range []Value{Bool(false), Uint(0), Text(""), ImageText(""), List(nil), Flags(0), Enum(0)} {
		if v.IsNull() {
			t.Errorf("%+v is null", v)
		}
	}
}

func TestAlignment(t *testing.T) {
	right := map[Kind]bool{KindUint: true, KindSize: true, KindOffset: true, KindAddr: true, KindHex: true, KindDuration: true}
	for kind := kindNull; kind <= KindNested; kind++ {
		if got := kind.isRightAligned(); got != right[kind] {
			t.Errorf("kind %d is right-aligned: %t, want %t", kind, got, right[kind])
		}
	}
}

// randomNames are the names of a column: those of bits can be an image's own.
func randomNames(kind Kind) []string {
	if kind == KindEnum {
		return []string{"data", "a-rather-long-name", "L2", "快照", ""}
	}
	return []string{"dirty", "a-rather-long-name", "\x1b[31m", "快照", ""}
}

// randomValue returns a value of a kind, or null.
func randomValue(rng *rand.Rand, kind Kind) Value {
	n := rng.Uint64() >> rng.IntN(64)
	v := Value{kind: kind, num: n}
	switch kind {
	case KindBool:
		v = Bool(n&1 != 0)
	case KindText:
		v.str = Escape(randomText(rng, 20))
	case KindImageText:
		v.str = randomText(rng, 20)
	case KindTime:
		v.num = n & 0xffffffff
	case KindEnum:
		v.num = n % uint64(len(randomNames(kind)))
	case KindFlags, KindBits:
		v.num = n & 0b11111
	case KindList:
		v = List([]string{randomText(rng, 5), randomText(rng, 5)}[:rng.IntN(3)])
	}
	if rng.IntN(10) == 0 {
		return Null
	}
	return v
}

// widestValue returns a value as wide as the widest that a column of the kind
// declares without a Max.
func widestValue(rng *rand.Rand, kind Kind) Value {
	switch kind {
	case KindSize:
		return Size(1<<20 - 6) // 1023.99 KiB
	case KindEnum:
		return Enum(1)
	}
	return randomValue(rng, kind)
}
