package cmd

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type undoOptions struct {
	id, wal string
	list    bool
	write   plans.WriteFlags
	output  cli.Output
}

func newUndoCmd(f *cli.Factory) *cobra.Command {
	opts := &undoOptions{}
	cmd := &cobra.Command{
		Use:   "undo ID|latest [WAL]",
		Short: "Take an applied plan back, byte for byte",
		Long: `Take an applied plan back, byte for byte, from the journal it left in the catalog.

It works on a plan that is half applied, and from any machine. It has the guards of
apply, and refuses once the result was written to: taking back what Milvus built on
would lose it. --list shows the journals.`,
		Example: `walctl undo --list --catalog etcd://localhost:2379/by-dev/meta
walctl undo latest --reason "did not help"
walctl undo 20261121T030000Z-1a2b3c4d --yes --reason "ticket 4711"`,
		Args: cli.Args(cobra.RangeArgs(0, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.list != (len(args) == 0) {
				return cli.Usagef("name a journal or `latest`, or ask for --list")
			}
			if len(args) > 0 {
				opts.id = args[0]
			}
			if len(args) > 1 {
				opts.wal = args[1]
			}
			return runUndo(cmd.Context(), f, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.list, "list", false, "list the journals")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.write.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodeDeclined)
}

func runUndo(ctx context.Context, f *cli.Factory, o *undoOptions) error {
	if o.list {
		return listJournals(ctx, f, o)
	}
	j, changes, spec, err := o.journal(ctx, f)
	then := &plans.Outcome{Again: o.write.Again(f, "undo", o.id, o.wal), WAL: o.wal, Catalog: spec}
	if j != nil {
		then.WAL, then.Milvus = cmp.Or(o.wal, j.Log.Location), j.Milvus
	}
	if err != nil {
		return (&plans.Report{Header: f.Header("undo", render.WAL{}, nil), Next: then.Next(f, err)}).Write(f, o.output, err)
	}
	keys := len(changes)
	if o.output.IsTable() {
		head := fmt.Sprintf("Journal    %s · %s · %s by %s: %s", j.ID, j.PChannel, j.State, j.Who, j.Reason)
		if err := plans.ShowChanges(f, j.PChannel, changes, []string{head}, o.output == cli.Wide); err != nil {
			return err
		}
	}
	opts, err := o.write.Options(f, fmt.Sprintf("Put %d keys back?", keys))
	if err != nil {
		return err
	}
	at, err := o.write.Open(ctx, f, spec, j.Log, o.wal)
	if err != nil {
		return err
	}
	defer at.Close()
	res, err := plan.Undo(ctx, j.ID, at.Cat, at.Gate, opts)
	report := &plans.Report{
		Header:  f.Header("undo", render.WAL{PChannel: j.PChannel, Location: j.Log.Location}, nil),
		Journal: j.ID, Transactions: res.Transactions, Resumed: res.Resumed, Keys: keys, KeysWritten: res.KeysWritten,
		Next: then.Next(f, err),
	}
	again := "walctl undo " + j.ID
	if o.wal != "" {
		again += " " + source.ShellWord(o.wal)
	}
	place := " --catalog " + source.ShellWord(o.write.Catalog.Spec)
	if err := report.Write(f, o.output, err, [2]string{"Finish", again + place + plans.Confirmation(f)}, [2]string{"Look", "walctl undo --list" + place}); err != nil || o.output == cli.JSON {
		return err
	}
	return cli.PrintLines(f, []string{fmt.Sprintf("Undone     %s in %s", render.Plural(keys, "key"), render.Plural(res.Transactions, "transaction")), "Proof      " + report.Next})
}

// journal finds the journal meant and what it takes back, with reading credentials.
func (o *undoOptions) journal(ctx context.Context, f *cli.Factory) (*plan.Journal, []plan.Change, string, error) {
	spec, err := f.CatalogSpec(o.write.Catalog, nil)
	if err != nil {
		return nil, nil, "", err
	}
	cat, err := f.OpenCatalog(ctx, cli.CatalogFlags{Spec: spec, AnyRoot: true}, nil, false)
	if err != nil {
		return nil, nil, "", err
	}
	defer cat.Close()
	j, err := plan.Find(ctx, cat, o.id)
	if err != nil {
		return nil, nil, spec, err
	}
	changes, err := plan.UndoChanges(ctx, j, cat)
	return j, changes, spec, err
}

type journalsReport struct {
	render.Header
	Journals []plan.Journal `json:"journals"`
}

func listJournals(ctx context.Context, f *cli.Factory, o *undoOptions) error {
	o.write.Catalog.AnyRoot = true // a journal can be all that is left
	cat, err := f.OpenCatalog(ctx, o.write.Catalog, nil, false)
	if err != nil {
		return err
	}
	defer cat.Close()
	all, err := plan.Journals(ctx, cat)
	if err != nil {
		return err
	}
	if o.output == cli.JSON {
		return render.JSON(f.Out(), journalsReport{f.Header("undo", render.WAL{}, nil), all})
	}
	t := &render.Table{Columns: []render.Column{{Name: "journal"}, {Name: "pchannel"}, {Name: "state"}, {Name: "written", Right: true}, {Name: "started"}, {Name: "who"}, {Name: "reason"}}}
	for _, j := range all {
		if j.State == plan.Damaged {
			t.Add(render.Text(j.ID), render.Text(""), render.Text(string(j.State)), render.Text(""), render.Text(""), render.Text(""), render.Text(j.Problem))
			continue
		}
		t.Add(render.Text(j.ID), render.Text(j.PChannel), render.Text(string(j.State)), render.Text(fmt.Sprintf("%d/%d", j.Done-j.Taken, len(j.Cuts))),
			render.Time(j.Started), render.Text(j.Who), render.Text(j.Reason))
	}
	return t.Write(f.Out(), f.Style(o.output))
}
