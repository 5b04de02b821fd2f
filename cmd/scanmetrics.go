package cmd

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/render"
)

// maxMetricImages is for how many images there are metrics. With more of them there
// are those of the whole only: a monitoring server keeps each series in memory.
const maxMetricImages = 1000

// A scanMetrics writes what Prometheus reads: the text format, version 0.0.4, as
// the textfile collector of node_exporter takes it.
type scanMetrics struct {
	w io.Writer
	// failures are those of the scan itself. If there are any, images are missing, and
	// nothing is written: their series would end.
	failures *failures
	note     func(string)
	rows     [][]render.Value // nil once there are too many
	many     bool
}

func (m *scanMetrics) row(r *fleet.Row) error {
	if len(m.rows) == maxMetricImages {
		m.rows, m.many = nil, true
	}
	if !m.many {
		cells := make([]render.Value, scanColumns)
		scanCells(cells, r)
		m.rows = append(m.rows, cells)
	}
	return nil
}

// imageMetrics are the metrics of each image that are a number of its row.
func imageMetrics() []struct {
	name, help string
	column     int
} {
	return []struct {
		name, help string
		column     int
	}{
		{"virtual_size_bytes", "Size of the disk that the guest sees.", scanVirtualSize},
		{"file_size_bytes", "Size of the image file.", scanFileSize},
		{"actual_size_bytes", "Space that the image file takes on its file system.", scanActualSize},
		{"snapshots_only_bytes", "Bytes that only snapshots hold: what deleting all of them frees for reuse.", scanSnapshotsOnly},
		{"free_bytes", "Bytes of the file that nothing uses.", scanFreeBytes},
		{"leaked_bytes", "Bytes of the file that have a refcount and no reference.", scanLeakedBytes},
		{"corruptions", "Errors that a check found.", scanCorruptions},
		{"leaks", "Leaked clusters that a check found.", scanLeaks},
		{"read_errors", "Parts of the file that the system failed to read.", scanCheckErrors},
		{"snapshots", "Internal snapshots.", scanSnapshots},
		{"dirty", "Whether the dirty bit is set: refcounts may be wrong.", scanDirty},
		{"corrupt", "Whether the corrupt bit is set.", scanCorrupt},
	}
}

func (m *scanMetrics) end(t *fleet.Totals, _ uint64) error {
	if len(m.failures.list) > 0 {
		return nil
	}
	var b bytes.Buffer
	if m.many {
		m.note(fmt.Sprintf("there are more than %d images: metrics are of all together only", maxMetricImages))
	}
	m.infos(&b)
	for _, f := range imageMetrics() {
		m.family(&b, "qinspect_image_"+f.name, f.help, func(row []render.Value) {
			if v := row[f.column]; !v.IsNull() {
				sample(&b, "qinspect_image_"+f.name, v.Num(), "image", row[scanFile].Str())
			}
		})
	}
	m.family(&b, "qinspect_image_status", "Whether the image has this status.", func(row []render.Value) {
		for i, status := range fleet.StatusNames() {
			is := uint64(0)
			if row[scanStatus].Num() == uint64(i) {
				is = 1
			}
			sample(&b, "qinspect_image_status", is, "image", row[scanFile].Str(), "status", status)
		}
	})
	scanMetricsOf(&b, t)
	_, err := m.w.Write(b.Bytes())
	return err
}

// infos writes what is text.
func (m *scanMetrics) infos(b *bytes.Buffer) {
	m.family(b, "qinspect_image_info", "What the header says; always 1.", func(row []render.Value) {
		if !row[scanCompat].IsNull() {
			sample(b, "qinspect_image_info", 1, "image", row[scanFile].Str(), "compat", row[scanCompat].Str(),
				"encrypted", strconv.FormatBool(row[scanEncrypted].Num() != 0), "backing", row[scanBacking].Str(), "data_file", row[scanDataFile].Str())
		}
	})
}

// scanMetricsOf writes what is of all images together.
func scanMetricsOf(b *bytes.Buffer, t *fleet.Totals) {
	gauge(b, "qinspect_scan_images", "Images that were scanned.")
	for i, status := range fleet.StatusNames() {
		sample(b, "qinspect_scan_images", t.ByStatus[i], "status", status)
	}
	for _, f := range []struct {
		name, help string
		n          uint64
	}{
		{"virtual_size_bytes", "Size of the disks of all images.", t.VirtualSize},
		{"file_size_bytes", "Size of all image files.", t.FileSize},
		{"actual_size_bytes", "Space that all image files take on their file systems.", t.ActualSize},
		{"snapshots_only_bytes", "Bytes of all images that only snapshots hold.", t.SnapshotsOnly},
		{"free_bytes", "Bytes of all images that nothing uses.", t.FreeBytes},
		{"leaked_bytes", "Bytes of all images that have a refcount and no reference.", t.LeakedBytes},
	} {
		gauge(b, "qinspect_scan_"+f.name, f.help)
		sample(b, "qinspect_scan_"+f.name, f.n)
	}
}

// family writes a family of metrics; of calls it for each image.
func (m *scanMetrics) family(b *bytes.Buffer, name, help string, of func(row []render.Value)) {
	if len(m.rows) == 0 {
		return
	}
	gauge(b, name, help)
	for _, row := range m.rows {
		of(row)
	}
}

// gauge writes what a family of metrics is.
func gauge(b *bytes.Buffer, name, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// sample writes a sample; the labels are pairs of a name and a value.
func sample(b *bytes.Buffer, name string, value uint64, labels ...string) {
	b.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		fmt.Fprintf(b, `%s="%s"`, labels[i], labelEscapes.Replace(labelText(labels[i+1])))
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	fmt.Fprintf(b, " %d\n", value)
}

// labelEscapes are the escapes of the text format.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelText returns a text of arbitrary bytes as UTF-8: bytes that are none, and
// control characters other than the newline, are written as \xNN. Texts that differ
// stay different: where a text has something that looks like \xNN, or needs one, its
// backslashes are written so, too.
func labelText(s string) string {
	if isLabelText(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || isControl(r) || r == '\\' {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// isLabelText reports whether a text can stand as it is.
func isLabelText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, isControl) && !strings.Contains(s, `\x`)
}

// isControl reports whether a terminal would act on a character, or it separates
// lines or sets the direction of text, as in JSON. A newline has its own escape.
func isControl(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
