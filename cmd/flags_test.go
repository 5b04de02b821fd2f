package cmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddress has the forms of an address and what each is in bytes, with
// clusters of 64 KiB.
func TestAddress(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "196608": 196608, "007": 7, "18446744073709551615": 1<<64 - 1,
		"0x0": 0, "0x30000": 0x30000, "0xaBcDeF": 0xabcdef, "0X1e": 0x1e, "0x1E": 0x1e, "0x000000000000000000001": 1, "0xffffffffffffffff": 1<<64 - 1,
		"1K": 1 << 10, "64k": 64 << 10, "2t": 2 << 40, "64K": 64 << 10, "5M": 5 << 20, "3G": 3 << 30, "2T": 2 << 40, "1P": 1 << 50, "7E": 7 << 60, "15E": 15 << 60, "0E": 0,
		"18014398509481983K": 1<<64 - 1<<10, "0s": 0, "1s": 512, "123456s": 123456 << 9, "7S": 7 << 9, "36028797018963967s": 1<<64 - 1<<9, "#0": 0, "#3": 3 << 16, "#0012": 12 << 16, "#281474976710655": 1<<64 - 1<<16,
	} {
		var a address
		if a.given() {
			t.Fatal("the zero address is given")
		}
		if err := a.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got, err := a.bytes(16)
		if err != nil || got != want || !a.given() || a.String() != text {
			t.Errorf("%q: %d bytes (%v), given %v, shown as %q, want %d bytes", text, got, err, a.given(), a.String(), want)
		}
	}
}

// TestAddressClusters has one cluster in clusters of all sizes, and those that
// lie beyond what 64 bits can say.
func TestAddressClusters(t *testing.T) {
	for _, test := range []struct {
		text        string
		clusterBits uint
		want        uint64
		err         string
	}{
		{"#3", 9, 3 << 9, ""},
		{"#3", 12, 3 << 12, ""},
		{"#3", 21, 3 << 21, ""},
		{"#36028797018963967", 9, 1<<64 - 1<<9, ""},
		{"#36028797018963968", 9, 0, "cluster #36028797018963968 lies beyond 2^64 bytes"},
		{"#281474976710656", 16, 0, "cluster #281474976710656 lies beyond 2^64 bytes"},
		{"#8796093022208", 21, 0, "cluster #8796093022208 lies beyond 2^64 bytes"},
		{"#18446744073709551615", 9, 0, "cluster #18446744073709551615 lies beyond 2^64 bytes"},
	} {
		var a address
		if err := a.Set(test.text); err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		got, err := a.bytes(test.clusterBits)
		words := ""
		if err != nil {
			words = err.Error()
		}
		if diff := cmp.Diff(test.err, words); diff != "" || got != test.want {
			t.Errorf("%q with %d cluster bits: %d, want %d; error (-want +got):\n%s", test.text, test.clusterBits, got, test.want, diff)
		}
	}
}

// TestAddressWrong has what is no address: the flag keeps what it had.
func TestAddressWrong(t *testing.T) {
	const words = "must be a number of bytes (0x…, decimal, 64K, 3G), of sectors of 512 bytes (123s) or of clusters (#N)"
	for _, text := range []string{
		"", " ", "x", "0x", "#", "K", "#K", "0xg", "-1", "+1", "-0x1", "1.5K", "1e3", "1_000", "0x1_0", " 1", "1 ", "1\n", "１",
		"0x10K", "0X", "0X10k", "010x", "0b1", "0o7", "64KiB", "64kiB", "64KB", "1KK", "1B", "1Z", "#0x3", "#3K", "##3", "#-3", "3#", "s", "0x1s", "#3s", "1ss", "1sK", "1Ks", "-1s", "3\u017f",
		"18446744073709551616", "0x10000000000000000", "16E", "36028797018963968s", "18014398509481984K", "#18446744073709551616", strings.Repeat("9", 1000),
	} {
		a := address{text: "7K", n: 7 << 10}
		err := a.Set(text)
		if err == nil || err.Error() != words {
			t.Errorf("%.40q: error %v, want %s", text, err, words)
		}
		if a != (address{text: "7K", n: 7 << 10}) {
			t.Errorf("%.40q: the address is now %+v", text, a)
		}
	}
}
