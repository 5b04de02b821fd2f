package cmd

import (
	"errors"
	"path/filepath"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// dependentsSection declares the images that name another.
func dependentsSection() *render.Section {
	return &render.Section{
		Key: "dependents", Title: "Dependents", Layout: render.LayoutList, Empty: "no dependents",
		Columns: []render.Column{
			{Key: "filename", Title: "FILE", Kind: render.KindImageText},
			{Key: "name", Title: "NAMES IT", Kind: render.KindImageText},
			{Key: "declared-format", Title: "FORMAT", Kind: render.KindImageText},
			{Key: "role", Title: "AS", Kind: render.KindEnum, Names: qcow2.FileRoleNames()},
		},
	}
}

// openBase opens an image, or with --dependents alone a raw file, which can have
// dependents, too; it then returns no image.
func (a *app) openBase(name string, o *chainOptions) (*qcow2.Image, File, error) {
	img, file, err := a.open(name)
	if len(o.dependents) == 0 || o.follow || !errors.Is(err, qcow2.ErrNotQcow2) {
		return img, file, err
	}
	f, err := a.OpenHostFile(name)
	if err != nil {
		return nil, nil, err
	}
	return nil, f, nil
}

// runBase is runChain for a raw file that openBase let in.
func (a *app) runBase(rep *report, o *chainOptions) error {
	c, err := chain.OfRaw(filepath.ToSlash(rep.name), rep.file.(HostFile)) //nolint:errcheck // openBase returns no other
	if err != nil {
		return err
	}
	return a.runLayers(rep, o, c)
}

var errNoIdentity = errors.New("the image is no file whose dependents could be found")

// searchDependents looks for images that name this one, nil if that is not asked.
func (a *app) searchDependents(rep *report, o *chainOptions) (*chain.Search, error) {
	if len(o.dependents) == 0 {
		return nil, nil
	}
	layers, err := a.Layers(rep.name, append(o.dependents, o.allow...))
	if err != nil {
		return nil, err
	}
	defer layers.Close()
	s := &chain.Search{Base: rep.file.Info(), Name: filepath.ToSlash(rep.name), Opener: layers, Image: a.options()}
	if s.Base == nil {
		return nil, errNoIdentity
	}
	for _, dir := range o.dependents {
		if err := s.Below(rep.ctx, filepath.ToSlash(dir)); err != nil {
			return nil, err
		}
	}
	for _, err := range s.Damage {
		rep.damaged(err)
	}
	return s, nil
}

// listDependents pushes the images that name this one.
func listDependents(rep *report, s *chain.Search) {
	if s == nil {
		rep.none("dependents")
		return
	}
	rep.Section(dependentsSection())
	for _, d := range s.Found {
		rep.row(render.ImageText(d.Filename), render.ImageText(d.Name), imageText(d.Declared, d.Declared != ""), render.Enum(uint64(d.Role)))
	}
}
