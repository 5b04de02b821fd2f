package cmd

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the chain section.
const (
	layerDepth = iota
	layerFilename
	layerName
	layerDeclared
	layerFormat
	layerProbed
	layerStatus
	layerReason
	layerVirtualSize
	layerFileSize
	layerActualSize
	layerClusterSize
	layerEncrypted
	layerDataFilename
	layerDataName
	layerDataStatus
	layerDataReason
	layerDataFileSize
	layerSnapshots
	layerVisible
	layerVisibleZero
	layerHidden
	layerBeyond
	layerMoves
	layerAllocates
	layerFrees

	layerColumns // how many
)

// chainSection declares the layers.
func chainSection() *render.Section {
	const programs = render.InPlain | render.InJSON
	tones := slices.Repeat([]render.Tone{render.ToneAlarm}, len(chain.StatusNames()))
	tones[chain.Opened], tones[chain.NotFollowed] = render.ToneNone, render.ToneAbsent
	return &render.Section{
		Key:    "chain",
		Title:  "Layers",
		Layout: render.LayoutList,
		Columns: []render.Column{
			layerDepth:        {Key: "depth", Title: "DEPTH", Kind: render.KindUint},
			layerFilename:     {Key: "filename", Title: "FILE", Kind: render.KindImageText},
			layerName:         {Key: "name", Kind: render.KindImageText, Show: programs},
			layerDeclared:     {Key: "declared-format", Kind: render.KindImageText, Show: programs},
			layerFormat:       {Key: "format", Title: "FORMAT", Kind: render.KindText, Drop: 4},
			layerProbed:       {Key: "format-probed", Kind: render.KindBool, Show: programs},
			layerStatus:       {Key: "status", Title: "STATUS", Kind: render.KindEnum, Names: chain.StatusNames(), Tones: tones},
			layerReason:       {Key: "reason", Kind: render.KindText, Show: programs},
			layerVirtualSize:  {Key: "virtual-size", Title: "VIRTUAL SIZE", Kind: render.KindSize, Drop: 3},
			layerFileSize:     {Key: "file-size", Title: "FILE SIZE", Kind: render.KindSize, Drop: 2},
			layerActualSize:   {Key: "actual-size", Kind: render.KindSize, Show: programs},
			layerClusterSize:  {Key: "cluster-size", Kind: render.KindSize, Show: programs},
			layerEncrypted:    {Key: "encrypted", Kind: render.KindBool, Show: programs},
			layerDataFilename: {Key: "data-file.filename", Kind: render.KindImageText, Show: programs},
			layerDataName:     {Key: "data-file.name", Kind: render.KindImageText, Show: programs},
			layerDataStatus:   {Key: "data-file.status", Kind: render.KindEnum, Names: chain.StatusNames(), Show: programs},
			layerDataReason:   {Key: "data-file.reason", Kind: render.KindText, Show: programs},
			layerDataFileSize: {Key: "data-file.file-size", Kind: render.KindSize, Show: programs},
			layerSnapshots:    {Key: "snapshots", Kind: render.KindUint, Show: programs},
			layerVisible:      {Key: "visible", Title: "VISIBLE", Kind: render.KindSize},
			layerVisibleZero:  {Key: "visible-zero", Title: "ZEROS", Kind: render.KindSize, Drop: 5},
			layerHidden:       {Key: "hidden", Title: "HIDDEN", Kind: render.KindSize, Drop: 1},
			layerBeyond:       {Key: "beyond", Kind: render.KindSize, Show: programs},
			layerMoves:        {Key: "commit.moves", Kind: render.KindSize, Show: programs},
			layerAllocates:    {Key: "commit.allocates", Title: "COMMIT NEEDS", Kind: render.KindSize},
			layerFrees:        {Key: "commit.frees", Kind: render.KindSize, Show: programs},
		},
	}
}

// setLayer sets the cells of a row of the chain section, but for what the layer
// contributes.
func setLayer(c []render.Value, l *chain.Layer) {
	read := l.Facts != nil
	c[layerDepth] = render.Uint(uint64(l.Depth))
	c[layerFilename] = imageText(l.Filename, l.HasName)
	c[layerName] = imageText(l.Name, l.HasName)
	c[layerDeclared] = imageText(l.Declared, l.Declared != "")
	c[layerFormat] = valueIf(l.Format != "", render.Text(l.Format))
	c[layerProbed] = valueIf(l.Format != "", render.Bool(l.Probed))
	c[layerStatus] = render.Enum(uint64(l.Status))
	c[layerReason] = valueIf(l.Reason != "", render.Text(l.Reason))
	c[layerVirtualSize] = valueIf(l.Readable(), render.Size(l.VirtualSize))
	c[layerFileSize] = valueIf(read, render.Size(l.FileSize))
	c[layerActualSize] = render.Null
	if read {
		n, ok := l.Facts.AllocatedBytes()
		c[layerActualSize] = valueIf(ok, render.Size(uint64(n)))
	}
	c[layerClusterSize], c[layerEncrypted], c[layerSnapshots] = render.Null, render.Null, render.Null
	if l.Image != nil {
		g, err := l.Image.Geometry()
		c[layerClusterSize] = valueIf(err == nil, render.Size(g.ClusterSize))
		c[layerEncrypted] = render.Bool(encrypted(l))
		c[layerSnapshots] = render.Uint(uint64(l.Image.Header().NbSnapshots))
	}
	setDataFile(c[layerDataFilename:layerSnapshots], l.DataFile)
}

// setDataFile sets the cells about the data file of a layer.
func setDataFile(c []render.Value, d *chain.DataFile) {
	clear(c)
	if d != nil {
		c[0] = render.ImageText(d.Filename)
		c[1] = render.ImageText(d.Name)
		c[2] = render.Enum(uint64(d.Status))
		c[3] = valueIf(d.Reason != "", render.Text(d.Reason))
		c[4] = valueIf(d.Status == chain.Opened, render.Size(d.FileSize))
	}
}

// setShare sets the cells about what a layer contributes; nothing is known of nil.
func setShare(c []render.Value, s *chain.Share) {
	clear(c[layerVisible:])
	if s == nil {
		return
	}
	c[layerVisible] = render.Size(s.Visible)
	c[layerVisibleZero] = render.Size(s.VisibleZero)
	c[layerHidden] = valueIf(s.Known, render.Size(s.Hidden))
	c[layerBeyond] = render.Size(s.Beyond)
	if s.Commit != nil {
		c[layerMoves] = render.Size(s.Commit.Moves)
		c[layerAllocates] = render.Size(s.Commit.Allocates)
		c[layerFrees] = render.Size(s.Commit.Frees)
	}
}

// chainOptions are the flags of the chain command.
type chainOptions struct {
	followFlags
	dependents []string
}

func (a *app) newChainCommand() *cobra.Command {
	var o chainOptions
	cmd := &cobra.Command{
		Use:   "chain IMAGE",
		Short: "Show the backing chain, and what each layer holds",
		Long: `Show the image and the files below it: its backing file, the backing file of
that, down to the base. For each layer: how much of the disk shows through from
it as data (VISIBLE) and as zeros (ZEROS), how much of what it holds is covered
from above (HIDDEN), and how much a commit into the layer below allocates there
(COMMIT NEEDS).

Use it before a commit, to see whether the base has room for it; to learn which
layer holds what; or when a layer is missing.

Without --follow no file but IMAGE is opened, and the layer below it is a name.
With --follow layers are opened, qcow2 and raw: those below the directory of
IMAGE or below a DIR of --allow, and none whose name QEMU would take for a
protocol or for JSON. A symbolic link must not lead out of the directory, and no
absolute one is followed, but with '--allow /'. The first bytes of a layer tell
its format; no other guest data is read.

--dependents reads the headers of all files below a directory, and lists the
images there that name IMAGE as their backing file or data file; IMAGE can then
be a raw file, too.

A layer that is missing, refused or damaged hides nothing above it; what it may
hold is unknown.

Exit status: 0 fine, 1 nothing could be shown, 2 with --follow not every layer
could be read, or one is damaged.`,
		Example: `  $ qinspect chain disk.qcow2
  $ qinspect chain --follow --allow .. disk.qcow2
  $ qinspect chain --dependents . disk.qcow2
  $ qinspect chain --follow -o json disk.qcow2 | jq -c '.chain[] | {filename, visible}'`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	open := func(name string) (*qcow2.Image, File, error) { return a.openBase(name, &o) }
	run := a.loadBy(loading{open: open, layered: true}, func(rep *report) error { return a.runChain(rep, &o) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringArrayVar(&o.dependents, "dependents", nil, "list the images below this `DIR` that name IMAGE")
	selects(cmd.Flags(), "dependents")
	must(cmd.MarkFlagDirname("dependents"))
	must(cmd.MarkFlagDirname("allow"))
	return cmd
}

func (a *app) runChain(rep *report, o *chainOptions) error {
	if rep.img == nil {
		return a.runBase(rep, o)
	}
	if _, err := rep.img.Geometry(); err != nil {
		return err
	}
	if err := rep.img.Supported(); o.follow && err != nil {
		return err
	}
	return a.withChain(rep, &o.followFlags, func(c *chain.Chain) error { return a.runLayers(rep, o, c) })
}

// runLayers shows a chain.
func (a *app) runLayers(rep *report, o *chainOptions, c *chain.Chain) error {
	var shares *chain.Shares
	if rep.img == nil || rep.img.Supported() == nil {
		var err error
		if shares, err = c.Shares(rep.ctx, rep.damaged); err != nil {
			return err
		}
	}
	search, err := a.searchDependents(rep, o)
	if err != nil {
		return err
	}
	c.RemarkOnUse()
	showChain(rep, c, shares, search)
	return nil
}

// showChain pushes the sections. shares and search are nil where nothing is known,
// or nothing was asked.
func showChain(rep *report, c *chain.Chain, shares *chain.Shares, search *chain.Search) {
	top := c.Layers[0]
	asked := c.Followed() || len(c.Layers) == 1 && top.DataFile == nil
	rep.facts(&render.Section{},
		fact{render.Column{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize}, render.Size(top.VirtualSize)},
		fact{render.Column{Key: "complete", Title: "Complete", Kind: render.KindBool}, valueIf(asked, render.Bool(c.Complete()))})
	rep.Section(chainSection())
	cells := make([]render.Value, layerColumns)
	for i, l := range c.Layers {
		setLayer(cells, l)
		var share *chain.Share
		if shares != nil && l.Readable() {
			share = &shares.Layers[i]
		}
		setShare(cells, share)
		rep.row(cells...)
	}
	rep.facts(&render.Section{}, chainFacts(c, shares)...)
	listDependents(rep, search)
	remarks := c.Remarks
	if search != nil {
		remarks = append(remarks, search.Remarks...)
	}
	listChainRemarks(rep, remarks)
}

// chainFacts returns the sums over all layers.
func chainFacts(c *chain.Chain, s *chain.Shares) []fact {
	var unallocated, unknown, flatten render.Value
	if s != nil {
		unallocated, unknown = render.Size(s.Unallocated), render.Size(s.Unknown)
		flatten = valueIf(s.HasFlatten, render.Size(s.Flatten))
	}
	var file, actual uint64
	known := true
	for _, l := range c.Layers {
		if l.Facts != nil && l.Status != chain.Loop { // which was counted
			file += l.FileSize
			n, ok := l.Facts.AllocatedBytes()
			actual += uint64(n)
			known = known && ok
		}
	}
	return []fact{
		{render.Column{Key: "unallocated", Title: "Held by no layer", Kind: render.KindSize}, unallocated},
		{render.Column{Key: "unknown", Title: "Unknown", Kind: render.KindSize, Tones: alarm()}, unknown},
		{render.Column{Key: "flatten", Title: "Flattening adds", Kind: render.KindSize}, flatten},
		{render.Column{Key: "totals.file-size", Title: "All files", Kind: render.KindSize}, render.Size(file)},
		{render.Column{Key: "totals.actual-size", Kind: render.KindSize, Show: render.InPlain | render.InJSON}, valueIf(known, render.Size(actual))},
	}
}

// listChainRemarks pushes what is worth a look.
func listChainRemarks(rep *report, remarks []chain.Remark) {
	rep.Section(&render.Section{
		Key: "remarks", Title: "Remarks", Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: chain.RemarkKindNames(), Tones: slices.Repeat(caution(), len(chain.RemarkKindNames()))},
			{Key: "depth", Title: "DEPTH", Kind: render.KindUint},
			{Key: "message", Title: "REMARK", Kind: render.KindText},
		},
	})
	for _, r := range remarks {
		rep.row(render.Enum(uint64(r.Kind)), render.Uint(uint64(r.Depth)), render.Text(r.Message))
	}
}
