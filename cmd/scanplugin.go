package cmd

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qinspect/qinspect/pkg/fleet"
)

// The exit statuses of monitoring plugins.
const (
	pluginOK       exitCode = 0
	pluginWarning  exitCode = 1
	pluginCritical exitCode = 2
	pluginUnknown  exitCode = 3
)

// pluginStates are the words for the statuses.
func pluginStates() []string { return []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"} }

// A scanPlugin writes one line, as monitoring systems want it, and knows the exit
// status that goes with it.
type scanPlugin struct {
	w io.Writer
	// failures are those of the scan itself.
	failures *failures
	dirty    uint64 // images with the dirty bit, that nothing is writing to
	bad      uint64 // images with the corrupt bit
	code     exitCode
}

func (p *scanPlugin) row(r *fleet.Row) error {
	if i := r.Image; i != nil {
		if i.Corrupt {
			p.bad++
		}
		if i.Dirty && !r.InUse() {
			p.dirty++
		}
	}
	return nil
}

// end writes the line: "QCOW2 WARNING - 12 images, 1 with leaks | images=12 …".
func (p *scanPlugin) end(t *fleet.Totals, _ uint64) error {
	words := []string{counted(t.Images, "image", "images")}
	n := func(s fleet.Status) uint64 { return t.ByStatus[s] }
	unread := n(fleet.StatusChanged) + n(fleet.StatusUnsupported) + n(fleet.StatusNotQcow2) + n(fleet.StatusUnreadable) + n(fleet.StatusTimedOut)
	for _, c := range []struct {
		n     uint64
		words string
	}{
		{n(fleet.StatusErrors), "with errors"}, {p.bad, "marked corrupt"}, {n(fleet.StatusLeaks), "with leaks"}, {p.dirty, "marked dirty"},
		{n(fleet.StatusLive), "live"}, {unread, "without a verdict"},
	} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.words))
		}
	}
	if list := p.failures.list; len(list) > 0 {
		words = append(words, pluginWords(list[0]))
		if more := len(list) - 1 + p.failures.omitted; more > 0 {
			words = append(words, moreErrors(more))
		}
	}
	switch {
	case n(fleet.StatusErrors)+p.bad > 0:
		p.code = pluginCritical
	case unread > 0 || t.Images == 0 || len(p.failures.list) > 0:
		p.code = pluginUnknown
	case n(fleet.StatusLeaks)+p.dirty > 0:
		p.code = pluginWarning
	}
	data := fmt.Sprintf("images=%d errors=%d;;0 leaks=%d;0 free=%dB leaked=%dB snapshots_only=%dB corrupt=%d;;0 dirty=%d;0 live=%d unknown=%d",
		t.Images, n(fleet.StatusErrors), n(fleet.StatusLeaks), t.FreeBytes, t.LeakedBytes, t.SnapshotsOnly, p.bad, p.dirty, n(fleet.StatusLive), unread)
	return writePluginLine(p.w, p.code, strings.Join(words, ", ")+" | "+data)
}

// pluginFailed makes of an error before the first image the line and the status of a
// plugin: what a shell takes for 1 would be a warning.
func (a *app) pluginFailed(err error) error {
	if _, done := errors.AsType[*exitError](err); err == nil || done {
		return err
	}
	writePluginLine(a.Stdout, pluginUnknown, pluginWords(err)) //nolint:errcheck // there is nobody left to tell
	return &exitError{pluginUnknown}
}

// pluginWords returns an error as a plugin can write it: on one line, and without the
// character that performance data begin with.
func pluginWords(err error) string { return strings.ReplaceAll(printable(reason(err)), "|", "/") }

// writePluginLine writes the line of a plugin.
func writePluginLine(w io.Writer, code exitCode, words string) error {
	_, err := fmt.Fprintf(w, "QCOW2 %s - %s\n", pluginStates()[code], words)
	return err
}
