package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/internal/render"
)

type demoOptions struct {
	name   string // "" = list them
	dir    string
	output cli.Output
}

type demoReport struct {
	render.Header
	demo.Result
}

func newDemoCmd(f *cli.Factory) *cobra.Command {
	opts := &demoOptions{}
	names := []string{}
	for _, d := range demo.List() {
		names = append(append(names, d.Name), d.Aliases...)
	}
	cmd := &cobra.Command{
		Use:   "demo [NAME]",
		Short: "Build a log with its catalog on disk, to try walctl on",
		Long: `Build a log with its catalog on disk, to try walctl on: no server is needed. The
directory is then an archive that every command reads, and catalog.db in it a
catalog that can be repaired. Without a name: what there is.

All data is made up, and the same on every machine.`,
		Example: `walctl demo
walctl demo healthy --dir ./demo
walctl demo stale-writer --dir ./demo-stale`,
		Args:      cli.Args(cobra.MaximumNArgs(1)),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				opts.name = args[0]
			}
			if opts.name != "" && opts.dir == "" {
				return cli.Usagef("say where the demo goes: --dir DIR")
			}
			return runDemo(cmd.Context(), f, opts)
		},
	}
	cmd.Flags().StringVar(&opts.dir, "dir", "", "an empty or new `directory` for it")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

func runDemo(ctx context.Context, f *cli.Factory, o *demoOptions) error {
	if o.name == "" {
		return listDemos(f, o)
	}
	r, err := demo.Build(ctx, o.name, o.dir)
	switch {
	case errors.Is(err, demo.ErrUnknown):
		return cli.Usagef("%w; `walctl demo` lists them", err)
	case errors.Is(err, demo.ErrOccupied):
		return cli.Usagef("%w: name an empty or new one", err)
	case err != nil:
		return err
	}
	r.Next = f.Complete(r.Next...)
	if o.output == cli.JSON {
		wal := render.WAL{PChannel: r.PChannel, Kind: "archive", Location: r.Dir}
		return render.JSON(f.Out(), demoReport{f.Header("demo", wal, nil), r})
	}
	w := f.Out()
	if _, err := fmt.Fprintf(w, "%s: %s messages, %s, %s in %s\n", r.PChannel, render.Thousands(r.Records), render.Plural(r.Terms, "term"), render.Plural(r.Keys, "catalog key"), r.Dir); err != nil {
		return err
	}
	for _, t := range r.Told {
		if _, err := fmt.Fprintln(w, "  "+t); err != nil {
			return err
		}
	}
	return render.Next(w, r.Next)
}

func listDemos(f *cli.Factory, o *demoOptions) error {
	list := demo.List()
	if o.output == cli.JSON {
		type entry struct {
			Name  string `json:"name"`
			Title string `json:"title"`
		}
		out := struct {
			render.Header
			Demos []entry `json:"demos"`
		}{Header: f.Header("demo", render.WAL{}, nil)}
		for _, d := range list {
			out.Demos = append(out.Demos, entry{d.Name, d.Title})
		}
		return render.JSON(f.Out(), out)
	}
	var sound []string
	for _, d := range list {
		if d.Sound {
			sound = append(sound, d.Name)
			continue
		}
		if _, err := fmt.Fprintf(f.Out(), "%-20s %s\n", d.Name, d.Title); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(f.Out(), "nothing is wrong in %s either\n", strings.Join(sound, ", ")); err != nil {
		return err
	}
	return f.Next("walctl demo healthy --dir ./demo")
}
