package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/picture"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// mostPageProblems is how many problems a page lists.
const mostPageProblems = 100

// drawPage writes the page that shows a picture.
func drawPage(rep *report, p *picture.Picture, by picture.By) error {
	u, err := rep.img.Usage(rep.ctx, qcow2.UsageOptions{Progress: rep.progress.report}) // its damage is that of the fold
	if err != nil {
		return err
	}
	page := picture.Page{
		Title: render.Escape(rep.name), File: shellFile(rep.name), By: by, Usage: u, Size: render.SizeText, SnapshotIDs: snapshotIDs(rep.img),
	}
	names := escapedSnapshots(rep.img)
	for i := range page.SnapshotIDs {
		page.SnapshotIDs[i] = render.Escape(page.SnapshotIDs[i])
	}
	for _, o := range u.Owners {
		name := "active image"
		if i, ok := o.Owner.Snapshot(); ok {
			name = names[i]
		}
		page.Owners = append(page.Owners, name)
	}
	if err := checkPage(rep, &page); err != nil {
		return err
	}
	return drawLines(rep, p.HTML(page))
}

// escapedSnapshots returns the snapshots by id and name, in the order of their
// table.
func escapedSnapshots(img *qcow2.Image) (names []string) {
	for s, err := range img.Snapshots() {
		if err != nil {
			break // the fold has reported it
		}
		names = append(names, render.Escape(cutText(s.ID))+": "+render.Escape(cutText(s.Name)))
	}
	return names
}

// checkPage sets what check says of the image, and what it finds as lines.
func checkPage(rep *report, page *picture.Page) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	var v checkVerdict
	omitted := uint64(0)
	row, line := problemRow{cells: make([]render.Value, checkColumns), ids: snapshotIDs(rep.img), g: g}, problemLine{g}
	v.result, err = rep.img.Check(rep.ctx, qcow2.CheckOptions{Name: fullName(rep.name), Progress: rep.progress.report, Finding: func(f *qcow2.Finding) bool {
		if f.Severity == qcow2.SeverityWarning {
			v.warnings++
		}
		if len(page.Problems) == mostPageProblems {
			omitted++
			return true
		}
		page.Problems = append(page.Problems, string(line.append(nil, row.of(f))))
		return true
	}})
	if omitted > 0 {
		page.Problems = append(page.Problems, fmt.Sprintf("%d more: see 'qinspect check'", omitted))
	}
	_, v.backed, _ = rep.img.BackingFile()
	page.Verdict = v.words()
	if rep.motion.writing() {
		page.Verdict += "; but another program writes to the image"
	}
	return err
}
