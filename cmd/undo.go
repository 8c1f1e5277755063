package cmd

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

type undoOptions struct {
	id, wal string
	list    bool
	write   writeFlags
	output  cli.Output
}

func newUndoCmd(f *cli.Factory, runF func(context.Context, *undoOptions) error) *cobra.Command {
	opts := &undoOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *undoOptions) error { return runUndo(ctx, f, o) }
	}
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
			return runF(cmd.Context(), opts)
		},
	}
	cmd.Flags().BoolVar(&opts.list, "list", false, "list the journals")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON)
	opts.write.add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodeDeclined)
}

func runUndo(ctx context.Context, f *cli.Factory, o *undoOptions) error {
	if o.list {
		return listJournals(ctx, f, o)
	}
	j, changes, spec, err := o.journal(ctx, f)
	then := &outcome{again: o.write.again(f, "undo", o.id, o.wal), wal: o.wal, catalog: spec}
	if j != nil {
		then.wal, then.milvus = cmp.Or(o.wal, j.Log.Location), j.Milvus
	}
	if err != nil {
		return (&writeReport{Header: f.Header("undo", render.WAL{}, nil), Next: then.next(f, err)}).write(f, o.output, err)
	}
	keys := len(changes)
	if o.output.IsTable() {
		head := fmt.Sprintf("Journal    %s · %s · %s by %s: %s", j.ID, j.PChannel, j.State, j.Who, j.Reason)
		if err := writeChanges(f, j.PChannel, changes, []string{head}, o.output == cli.Wide); err != nil {
			return err
		}
	}
	opts, err := o.write.options(f, fmt.Sprintf("Put %d keys back?", keys))
	if err != nil {
		return err
	}
	at, err := o.write.open(ctx, f, spec, j.Log, o.wal)
	if err != nil {
		return err
	}
	defer at.close()
	res, err := plan.Undo(ctx, j.ID, at.cat, at.gate, opts)
	report := &writeReport{
		Header:  f.Header("undo", render.WAL{PChannel: j.PChannel, Location: j.Log.Location}, nil),
		Journal: j.ID, Transactions: res.Transactions, Resumed: res.Resumed, Keys: keys, KeysWritten: res.KeysWritten,
		Next: then.next(f, err),
	}
	again := "walctl undo " + j.ID
	if o.wal != "" {
		again += " " + shellQuote(o.wal)
	}
	place := " --catalog " + shellQuote(o.write.catalog.Spec)
	if err := report.write(f, o.output, err, [2]string{"Finish", again + place + confirmation(f)}, [2]string{"Look", "walctl undo --list" + place}); err != nil || o.output == cli.JSON {
		return err
	}
	return printLines(f, []string{fmt.Sprintf("Undone     %s in %s", render.Plural(keys, "key"), render.Plural(res.Transactions, "transaction")), "Proof      " + report.Next})
}

// journal finds the journal meant and what it takes back, with reading credentials.
func (o *undoOptions) journal(ctx context.Context, f *cli.Factory) (*plan.Journal, []plan.Change, string, error) {
	spec, err := f.CatalogSpec(o.write.catalog, nil)
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
	o.write.catalog.AnyRoot = true // a journal can be all that is left
	cat, err := f.OpenCatalog(ctx, o.write.catalog, nil, false)
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
