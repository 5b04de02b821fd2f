package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/picture"
	"github.com/qinspect/qinspect/pkg/render"
)

// The formats that plot has beside those of all commands.
const (
	formatSVG  render.Format = "svg"
	formatHTML render.Format = "html"
)

// plotBy names what the squares are coloured by.
type plotBy string

const (
	plotByNeed plotBy = "need"
	plotByRuns plotBy = "runs"
)

// plotOptions are the flags of plot.
type plotOptions struct {
	output         *choice[render.Format]
	by             *choice[plotBy]
	squares, width uint
	window         window
}

func newPlotOptions() *plotOptions {
	return &plotOptions{
		output: newChoice(render.FormatTable, render.FormatPlain, formatSVG, formatHTML, render.FormatJSON, render.FormatNDJSON),
		by:     newChoice(plotByNeed, plotByRuns),
	}
}

func (o *plotOptions) addFlags(flags *pflag.FlagSet) {
	flags.VarP(o.output, "output", "o", o.output.choices())
	flags.Var(o.by, "by", "what colours the squares: "+o.by.choices())
	flags.UintVar(&o.squares, "squares", 0, "at most this many squares (0: what suits the format)")
	flags.UintVar(&o.width, "width", 0, "columns of text (0: those of the terminal)")
	flags.Var(&o.window.offset, "offset", "begin at this host address")
	flags.Var(&o.window.length, "length", "end after this many bytes")
	selects(flags, "output", "offset", "length")
}

func (a *app) newPlotCommand() *cobra.Command {
	o := newPlotOptions()
	cmd := &cobra.Command{
		Use:   "plot IMAGE",
		Short: "Draw a picture of the image file",
		Long: `Draw the image file from its first byte to its last, as squares of one cluster
or of several: what each is needed for. Data of the active image, of snapshots,
or of both; metadata, VM state, free and leaked clusters have colours of their
own. With --by runs the colour says how long the contiguous runs are: red where
the file is fragmented, blue where it is not.

One leaked cluster, or one with damaged references, paints its square. Otherwise
a square shows one of its clusters, so chosen that each colour has its share of
an area.

A terminal gets two squares in a character, or letters where it has no colours;
'-o svg' is a drawing for a document or a ticket, '-o html' a page that explains
itself and needs no network, '-o json' has the numbers. All go to standard
output. Only -o on the command line counts, not the configuration.

Use it when you would rather look than read: what an old disk is made of, where
the free clusters lie, what a snapshot keeps.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged.`,
		Example: `  $ qinspect plot disk.qcow2
  $ qinspect plot --by runs disk.qcow2
  $ qinspect plot -o svg disk.qcow2 >disk.svg
  $ qinspect plot -o html disk.qcow2 >disk.html`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error { return a.runPlot(rep, o) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.window.check(cmd); err != nil {
			return err
		}
		if o.squares > picture.MaxSquares {
			return usageError(cmd, fmt.Errorf("--squares must be at most %d", picture.MaxSquares))
		}
		renderer := render.FormatPlain // the pictures are lines of text
		if forPrograms(o.output.value) {
			renderer = o.output.value
		}
		must(cmd.Root().PersistentFlags().Set("output", string(renderer)))
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	a.completeFlag(cmd, "output", completeList(o.output.names()))
	a.completeFlag(cmd, "by", completeList(o.by.names()))
	return cmd
}

func (a *app) runPlot(rep *report, o *plotOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	if !forPrograms(o.output.value) {
		noteDataFile(rep, dataInDataFile)
	}
	opts := picture.Options{Damage: rep.damaged, Progress: rep.progress.report}
	if opts.Offset, opts.Length, err = o.window.bytes(g.ClusterBits); err != nil {
		return err
	}
	text := a.plotText(o)
	opts.Squares = o.most(text)
	p, err := picture.Fold(rep.ctx, rep.img, opts)
	if err != nil {
		return err
	}
	rep.damagedClusters(g.ClustersIn(p.Bytes()[picture.Conflict]))
	switch o.output.value {
	case render.FormatJSON, render.FormatNDJSON:
		return listPlot(rep, p)
	case formatSVG:
		return drawLines(rep, p.SVG(picture.SVG{Title: render.Escape(rep.name), By: o.colours(), Size: render.SizeText}))
	case formatHTML:
		return drawPage(rep, p, o.colours())
	}
	return drawLines(rep, p.Text(text))
}

// colours returns what the squares are coloured by.
func (o *plotOptions) colours() picture.By {
	if o.by.value == plotByRuns {
		return picture.ByRuns
	}
	return picture.ByNeed
}

// The text that a picture gets where there is no terminal.
const (
	textWidth  = 80
	textHeight = 24
)

// plotText returns how a picture is drawn as text.
func (a *app) plotText(o *plotOptions) picture.Text {
	t := picture.Text{Width: textWidth, Height: textHeight, By: o.colours(), Size: render.SizeText}
	if width, height := terminalSize(a.Stdout); width > 0 {
		t.Width, t.Height = width, height
	}
	if o.width > 0 {
		t.Width = int(min(o.width, picture.MaxSquares))
	}
	t.Color = a.colored() && o.output.value == render.FormatTable
	return t
}

// svgSquares is how many squares a drawing has: a square of it can still be seen.
const svgSquares = 16_000

// most returns how many squares there are at most.
func (o *plotOptions) most(text picture.Text) int {
	most := picture.MaxSquares
	switch o.output.value {
	case render.FormatTable, render.FormatPlain:
		most = text.Squares()
	case formatSVG:
		most = svgSquares
	}
	if o.squares > 0 {
		most = int(o.squares)
	}
	return most
}

// drawLines writes a picture that is text.
func drawLines(rep *report, picture string) error {
	return rep.Lines(func(dst []byte) []byte { return append(dst, strings.TrimSuffix(picture, "\n")...) })
}
