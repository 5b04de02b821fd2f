package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
)

// followFlags are the flags of the commands that can follow the names of layers.
type followFlags struct {
	follow   bool
	allow    []string
	maxDepth uint
}

func (o *followFlags) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.follow, "follow", false, "open backing files below the image's directory")
	flags.StringArrayVar(&o.allow, "allow", nil, "open files below this `DIR`, too")
	flags.UintVar(&o.maxDepth, "max-depth", chain.DefaultMaxDepth, "how many layers are opened at most")
	selects(flags, "follow", "allow")
}

// check returns an error if the flags that were given do not go together.
func (o *followFlags) check(cmd *cobra.Command) error {
	looks := o.follow || cmd.Flags().Changed("dependents")
	if cmd.Flags().Changed("allow") && !looks || cmd.Flags().Changed("max-depth") && !o.follow {
		return usageError(cmd, errors.New("--allow and --max-depth go with --follow"))
	}
	if slices.Contains(o.allow, "") { // which would be the working directory
		return usageError(cmd, errors.New("--allow: the name of a directory is empty"))
	}
	if o.maxDepth == 0 {
		return usageError(cmd, errors.New("--max-depth must be more than 0"))
	}
	return nil
}

// withChain reads the chain of an image, if names are to be followed with the layers
// below it, calls show with it, and closes it. What is wrong with layers is damage.
func (a *app) withChain(rep *report, o *followFlags, show func(*chain.Chain) error) error {
	opts := chain.Options{MaxDepth: int(min(o.maxDepth, 1<<30)), Image: a.options()}
	if o.follow {
		layers, err := a.Layers(rep.name, o.allow)
		if err != nil {
			return err
		}
		defer layers.Close()
		opts.Opener = layers
	}
	c := chain.Read(filepath.ToSlash(rep.name), rep.img, rep.file, opts)
	defer c.Close()
	for _, err := range c.Damage {
		rep.damaged(besideLink(err, rep.name, c))
	}
	err := show(c)
	if o.follow {
		rep.motion.lookBelow(c)
	}
	return err
}

// besideLink adds a hint to the error about a missing backing file of an image that
// is called by a symbolic link.
func besideLink(err error, name string, c *chain.Chain) error {
	e, ok := errors.AsType[*chain.Error](err)
	if !ok || e.Depth != 1 || c.Layers[1].Status != chain.Missing {
		return err
	}
	target, linkErr := os.Readlink(name)
	if linkErr != nil {
		return err
	}
	return &hintError{err, fmt.Sprintf("the image is a symbolic link: QEMU looks beside it, not in %q", filepath.Dir(target))}
}

// encrypted reports whether the guest data of a layer is encrypted.
func encrypted(l *chain.Layer) bool {
	return l.Image != nil && l.Image.Header().CryptMethod != qcow2.CryptNone
}
