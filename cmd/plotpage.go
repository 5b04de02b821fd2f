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
	page := picture.Page{
		Title: render.Escape(rep.name), File: shellFile(rep.name), By: by, Size: render.SizeText, SnapshotIDs: snapshotIDs(rep.img),
	}
	if err := surveyForPage(rep, &page); err != nil {
		return err
	}
	names := escapedSnapshots(rep.img)
	for i := range page.SnapshotIDs {
		page.SnapshotIDs[i] = render.Escape(page.SnapshotIDs[i])
	}
	for _, o := range page.Usage.Owners {
		name := "active image"
		if i, ok := o.Owner.Snapshot(); ok {
			name = names[i]
		}
		page.Owners = append(page.Owners, name)
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

// surveyForPage sets what check and usage say of the image, and what check finds as
// lines.
func surveyForPage(rep *report, page *picture.Page) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	var v checkVerdict
	omitted := uint64(0)
	row, line := problemRow{cells: make([]render.Value, checkColumns), ids: snapshotIDs(rep.img), g: g}, problemLine{g}
	o := qcow2.CheckOptions{Name: fullName(rep.name), Progress: rep.progress.report, Finding: func(f *qcow2.Finding) bool {
		if f.Severity == qcow2.SeverityWarning {
			v.warnings++
		}
		if len(page.Problems) == mostPageProblems {
			omitted++
			return true
		}
		page.Problems = append(page.Problems, string(line.append(nil, row.of(f))))
		return true
	}}
	v.result, page.Usage, err = rep.img.Survey(rep.ctx, o, qcow2.UsageOptions{}) // damage is that of the fold
	if omitted > 0 {
		page.Problems = append(page.Problems, fmt.Sprintf("%d more: see 'qinspect check'", omitted))
	}
	_, v.backed, _ = rep.img.BackingFile()
	page.Verdict = v.words()
	if rep.look(); rep.motion.writing() { // all has been read
		page.Verdict += "; but another program writes to the image"
	}
	return err
}
