package audit

import (
	"errors"
	"fmt"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// What luks-weak, luks-costly and luks-slow compare with. QEMU makes a few million
// iterations by default, as many as take its machine two seconds.
const (
	minIterations    = 1000
	minStripes       = 4000
	slowIterations   = 20_000_000
	costlyIterations = 100_000_000
)

// encryptionRules are about encrypted guest data.
func encryptionRules() []Rule {
	return []Rule{
		rejects("encrypted-aes", "guest data are encrypted by the old method, which is broken and deprecated", checkEncryptedAES).in(ScopeHeader),
		warns("encrypted", "guest data are encrypted with LUKS: nobody can look at them", checkEncrypted).in(ScopeHeader),
		rejects("luks-header", "the LUKS header is damaged or of another version than 1, or key material lies outside of it", checkLUKSHeader),
		rejects("luks-costly", fmt.Sprintf("a key takes more than %d iterations to try", costlyIterations), iterationRule(costlyIterations)),
		notes("luks-slow", fmt.Sprintf("a key takes more than %d iterations to try", slowIterations), iterationRule(slowIterations)),
		warns("luks-weak", fmt.Sprintf("a key in use has fewer than %d iterations or %d stripes, or the cipher is not AES, Serpent or Twofish in XTS mode", minIterations, minStripes), checkLUKSWeak),
		notes("luks-sha1", "keys are derived with SHA-1", checkLUKSSHA1),
	}
}

func checkEncryptedAES(x *examination) ([]Finding, error) {
	return failIf(x.img.Header().CryptMethod == qcow2.CryptAES, func() Finding {
		return found("guest data are encrypted by the old method (AES)").field("crypt_method")
	})
}

func checkEncrypted(x *examination) ([]Finding, error) {
	return failIf(x.img.Header().CryptMethod == qcow2.CryptLUKS, func() Finding {
		return found("guest data are encrypted with LUKS").field("crypt_method")
	})
}

func checkLUKSHeader(x *examination) ([]Finding, error) {
	l, ok, err := x.img.LUKS()
	if errors.Is(err, qcow2.ErrCorrupt) || errors.Is(err, qcow2.ErrTruncated) {
		return only(ofError(err))
	}
	if !ok || err != nil {
		return nil, err
	}
	var all []Finding
	for _, e := range l.Damage {
		all = append(all, ofError(e))
	}
	if l.Version == 2 {
		all = append(all, found("LUKS version 2: QEMU opens version 1 only").at(l.Offset))
	}
	area, _, _ := x.img.EncryptionHeader() // it is there, as the LUKS header is
	for i, s := range l.KeySlots {
		if end := s.KeyOffset() + uint64(l.KeyBytes)*uint64(s.Stripes); s.Active() && end > area.Length {
			all = append(all, found("the key material of key slot %d ends outside of the LUKS header", i).at(l.Offset+s.KeyOffset()).value(end).limit(area.Length))
		}
	}
	return all, nil
}

// luks returns the LUKS header, nil if there is none.
func (x *examination) luks() (*qcow2.LUKS, error) {
	l, _, err := x.img.LUKS()
	if err == nil && l != nil && l.Version != 1 {
		err = errors.New("the LUKS header is not of version 1")
	}
	return l, err
}

// iterationRule returns a check that fails if a key takes more iterations to try.
func iterationRule(limit uint64) check {
	return func(x *examination) ([]Finding, error) {
		l, err := x.luks()
		if l == nil || err != nil {
			return nil, err
		}
		n := l.KeyIterations
		for _, s := range l.KeySlots {
			if s.Active() {
				n = max(n, s.Iterations)
			}
		}
		return failIf(uint64(n) > limit, func() Finding {
			return found("a key takes %d iterations to try", n).at(l.Offset).value(uint64(n)).limit(limit)
		})
	}
}

func checkLUKSWeak(x *examination) ([]Finding, error) {
	l, err := x.luks()
	if l == nil || err != nil {
		return nil, err
	}
	var all []Finding
	if !slices.Contains([]string{"aes", "serpent", "twofish"}, l.CipherName) || l.CipherModeAlg() != "xts" {
		all = append(all, found("the cipher is %q in mode %q", l.CipherName, l.CipherMode).at(l.Offset).named(l.CipherName+"-"+l.CipherMode))
	}
	for i, s := range l.KeySlots {
		switch {
		case !s.Active():
		case s.Iterations < minIterations:
			all = append(all, found("key slot %d has %d iterations", i, s.Iterations).at(l.Offset).value(uint64(s.Iterations)).limit(minIterations))
		case s.Stripes < minStripes:
			all = append(all, found("key slot %d has %d stripes", i, s.Stripes).at(l.Offset).value(uint64(s.Stripes)).limit(minStripes))
		}
	}
	return all, nil
}

func checkLUKSSHA1(x *examination) ([]Finding, error) {
	l, err := x.luks()
	if l == nil || err != nil {
		return nil, err
	}
	return failIf(l.HashSpec == "sha1", func() Finding { return found("keys are derived with SHA-1").at(l.Offset) })
}
