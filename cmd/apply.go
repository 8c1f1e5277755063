package cmd

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type applyOptions struct {
	file, wal string
	write     plans.WriteFlags
	output    cli.Output
}

func newApplyCmd(f *cli.Factory) *cobra.Command {
	opts := &applyOptions{}
	cmd := &cobra.Command{
		Use:   "apply FILE [WAL]",
		Short: "Write a saved plan to the catalog, guarded and undoable",
		Long: `Write a saved plan to the catalog, guarded and undoable. It is the only command
that writes to a live catalog.

Milvus has to be stopped: every transaction compares, inside itself, that no session
lives and that no key was changed since the plan was made, and carries its journal.
Killed at any step, the same command goes on, on any machine; undo goes back. Log
and catalog are those the plan names; WAL and --catalog give their new address.`,
		Example: `walctl apply p.json --reason "checkpoint trimmed, ticket 4711"
walctl apply p.json --yes --reason "ticket 4711" -o json`,
		Args: cli.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.file = args[0]
			if len(args) == 2 {
				opts.wal = args[1]
			}
			return runApply(cmd.Context(), f, opts)
		},
	}
	cmd.Flags().StringVar(&opts.write.Export, "dir", "", "save the touched keys as they were to this `DIR` (default: the plan's)")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.write.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodeDeclined)
}

func runApply(ctx context.Context, f *cli.Factory, o *applyOptions) error {
	p, err := plan.Read(o.file)
	if err != nil {
		return err
	}
	if o.output.IsTable() {
		if err := plans.Show(f, p, o.output == cli.Wide); err != nil {
			return err
		}
	}
	if o.write.Export == "" {
		o.write.Export = filepath.Dir(o.file)
	}
	opts, err := o.write.Options(f, fmt.Sprintf("Write these %d keys?", len(p.Changes)))
	if err != nil {
		return err
	}
	settings, err := f.Config()
	if err != nil {
		return err
	}
	opts.Milvus = settings.MilvusVersion
	at, err := o.write.Open(ctx, f, p.Binding.Catalog, p.Binding.Log, o.wal)
	if err != nil {
		return err
	}
	defer at.Close()
	res, err := plan.Apply(ctx, p, at.Cat, at.Gate, opts)
	then := &plans.Outcome{Again: o.write.Again(f, "apply", o.file, o.wal), Out: o.file, WAL: cmp.Or(o.wal, p.Binding.Log.Location), Catalog: o.write.Catalog.Spec,
		Milvus: cmp.Or(opts.Milvus, p.Binding.Milvus)}
	report := &plans.Report{
		Header:  f.Header("apply", render.WAL{PChannel: p.PChannel, Location: p.Binding.Log.Location}, nil),
		Journal: res.Journal, Transactions: res.Transactions, Resumed: res.Resumed, Export: res.Export, Keys: len(p.Changes), KeysWritten: res.KeysWritten,
		Next: then.Next(f, err),
	}
	again := "walctl apply " + source.ShellWord(o.file)
	if o.wal != "" {
		again += " " + source.ShellWord(o.wal)
	}
	back := "walctl undo " + p.ID
	if o.wal != "" {
		back += " " + source.ShellWord(o.wal)
	}
	back += " --catalog " + source.ShellWord(o.write.Catalog.Spec)
	if err := report.Write(f, o.output, err, [2]string{"Finish", again + plans.Confirmation(f)}, [2]string{"Go back", back + plans.Confirmation(f)}); err != nil || o.output == cli.JSON {
		return err
	}
	if p.Empty() {
		return cli.PrintLines(f, []string{"Applied    nothing: the plan changes no key", "Proof      " + report.Next})
	}
	went := ""
	if res.Resumed {
		went = ", going on where it stopped,"
	}
	lines := []string{fmt.Sprintf("Applied    %s%s in %s · journal %s", render.Plural(len(p.Changes), "key"), went, render.Plural(res.Transactions, "transaction"), res.Journal)}
	if res.Export != "" {
		lines = append(lines, "Saved      the keys as they were: "+res.Export)
	}
	lines = append(lines, "Undo       "+f.Carry("walctl undo "+res.Journal+" --catalog "+source.ShellWord(o.write.Catalog.Spec)+plans.Confirmation(f)))
	return cli.PrintLines(f, append(lines, "Proof      "+report.Next))
}
