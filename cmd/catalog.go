package cmd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func newCatalogCmd(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalog",
		Short: "Look into a catalog, take a copy, plan an import",
		Long: `A catalog is where Milvus keeps what its WALs mean: an etcd, a snapshot of one, a
bbolt file or a JSON object. show, get and export only read. import writes nothing
either: it makes a plan for apply.`,
		Example: `walctl catalog show --catalog snapshot:etcd.db
walctl catalog get streamingnode-meta/wal/by-dev-rootcoord-dml_3/consume-checkpoint
walctl catalog export --to kvjson:copy.json`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCatalogShowCmd(f), newCatalogGetCmd(f), newCatalogExportCmd(f), newCatalogImportCmd(f))
	return cli.Finish(f, cmd)
}

type catalogOptions struct {
	catalog  cli.CatalogFlags
	output   cli.Output
	failOn   cli.FailOn // show
	key      string     // get
	raw      bool
	to       string // export
	prefix   string
	file     string // import
	out      string
	pchannel string
	remove   bool
	files    plans.OutFlags
	toSpec   catalog.Spec // of to
}

// over opens the catalog for one of the subcommands.
func (o *catalogOptions) over(ctx context.Context, f *cli.Factory, do func(context.Context, *cli.Factory, *catalogOptions, catalog.Catalog) error) error {
	cat, err := f.OpenCatalog(ctx, o.catalog, nil, false)
	if err != nil {
		return err
	}
	defer cat.Close()
	return do(ctx, f, o, cat)
}

func newCatalogShowCmd(f *cli.Factory) *cobra.Command {
	o := &catalogOptions{}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show each WAL of a catalog, and the processes that live",
		Example: `walctl catalog show
walctl catalog show --catalog kvjson:after.json -o json`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.over(cmd.Context(), f, showCatalog) },
	}
	cli.AddOutput(cmd, &o.output, cli.Table, cli.Wide, cli.JSON)
	o.failOn.Add(cmd)
	o.catalog.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

// walReport is one WAL as its catalog has it.
type walReport struct {
	PChannel   string            `json:"pchannel"`
	Term       int64             `json:"term,omitempty"`
	State      string            `json:"state,omitempty"`
	Checkpoint string            `json:"checkpoint,omitempty"` // id, as printed
	TimeTick   uint64            `json:"time_tick,string"`
	VChannels  int               `json:"vchannels"`
	Segments   int               `json:"segments"`
	Problems   []catalog.Problem `json:"problems,omitempty"`
}

type catalogReport struct {
	render.Header
	Identity catalog.Identity  `json:"catalog"`
	WALs     []walReport       `json:"wals"`
	Sessions []catalog.Session `json:"sessions"`
	Problems []catalog.Problem `json:"problems,omitempty"` // beside the WALs
}

func showCatalog(ctx context.Context, f *cli.Factory, o *catalogOptions, cat catalog.Catalog) error {
	id, err := cat.Identity(ctx)
	if err != nil {
		return err
	}
	cluster, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return err
	}
	kvs, _, err := cat.Range(ctx, strings.TrimSuffix(catalog.WALPrefix(""), "/"))
	if err != nil {
		return err
	}
	byWAL := map[string][]catalog.KV{}
	for _, kv := range kvs {
		p := catalog.ParseKey(kv.Key).PChannel
		byWAL[p] = append(byWAL[p], kv)
	}
	for p := range cluster.PChannels {
		byWAL[p] = append(byWAL[p], catalog.KV{})
	}
	report := catalogReport{Identity: id, WALs: []walReport{}, Sessions: cluster.Sessions, Problems: cluster.Problems}
	wals := map[string]catalog.Metadata{}
	for _, p := range slices.Sorted(maps.Keys(byWAL)) {
		wals[p] = catalog.FromKVs(p, byWAL[p])
		report.WALs = append(report.WALs, describeWAL(wals[p], cluster))
	}
	if err := report.crossCheck(ctx, f, cat, cluster, wals); err != nil {
		return err
	}
	return errors.Join(report.write(f, o.output), o.failOn.Check(report.Findings))
}

func (r *catalogReport) write(f *cli.Factory, output cli.Output) error {
	if output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	return r.table(f, output)
}

// crossCheck adds what the keys say held against each other, as findings and as
// problems of the WALs they concern. A WAL nobody serves has a line too.
func (r *catalogReport) crossCheck(ctx context.Context, f *cli.Factory, cat catalog.Catalog, cluster *catalog.Cluster, wals map[string]catalog.Metadata) error {
	collections, _, err := catalog.Collections(ctx, cat)
	if err != nil {
		return err
	}
	found := catalog.CrossCheck(cluster, collections, wals)
	told := slices.Clone(found)
	for _, p := range slices.Sorted(maps.Keys(wals)) {
		for _, x := range wals[p].Problems {
			if x.Fatal {
				told = append(told, x)
			}
		}
	}
	r.Header = f.Header("catalog show", render.WAL{}, diagnose.CatalogFindings(told))
	for _, p := range found {
		i := slices.IndexFunc(r.WALs, func(w walReport) bool { return w.PChannel == p.PChannel })
		if i < 0 {
			i = len(r.WALs)
			r.WALs = append(r.WALs, walReport{PChannel: p.PChannel, State: "unassigned"})
		}
		r.WALs[i].Problems = append(r.WALs[i].Problems, p)
	}
	slices.SortFunc(r.WALs, func(a, b walReport) int { return strings.Compare(a.PChannel, b.PChannel) })
	return nil
}

func describeWAL(md catalog.Metadata, cluster *catalog.Cluster) walReport {
	pchannel := md.PChannel
	r := walReport{PChannel: pchannel, TimeTick: md.Checkpoint.GetTimeTick(), VChannels: len(md.VChannels), Segments: len(md.Segments), Problems: md.Problems}
	if m := cluster.PChannels[pchannel]; m != nil {
		r.Term = m.GetChannel().GetTerm()
		r.State = strings.ToLower(strings.TrimPrefix(m.GetState().String(), "PCHANNEL_META_STATE_"))
	}
	if id := md.Checkpoint.GetMessageId(); id != nil {
		r.Checkpoint = id.GetId()
		if at, _, err := message.ParseRaw(message.Backend(id.GetWALName()), id.GetId()); err == nil {
			r.Checkpoint = at.String()
		}
	}
	return r
}

func (r *catalogReport) table(f *cli.Factory, output cli.Output) error {
	if _, err := fmt.Fprintf(f.Out(), "%s · %s\n", strings.TrimSpace(r.Identity.Kind+" "+r.Identity.ClusterID), render.Clean(r.Identity.Root)); err != nil {
		return err
	}
	problems := slices.Clone(r.Problems)
	t := &render.Table{Columns: []render.Column{{Name: "pchannel"}, {Name: "term", Right: true}, {Name: "state"}, {Name: "checkpoint"}, {Name: "at"}, {Name: "tt", Right: true, Wide: true},
		{Name: "vchannels", Right: true}, {Name: "segments", Right: true}, {Name: "problems", Right: true}}}
	for _, w := range r.WALs {
		problems = append(problems, w.Problems...)
		t.Add(render.Text(w.PChannel), render.Number(w.Term), render.Text(w.State), render.Text(w.Checkpoint), render.Tick(w.TimeTick), render.Number(w.TimeTick),
			render.Count(int64(w.VChannels)), render.Count(int64(w.Segments)), render.Count(int64(len(w.Problems))))
	}
	if err := t.Write(f.Out(), f.Style(output)); err != nil {
		return err
	}
	for _, s := range r.Sessions {
		if _, err := fmt.Fprintln(f.Out(), render.Clean("alive: "+s.String())); err != nil {
			return err
		}
	}
	for i, p := range problems {
		if i == plans.KeysShown && output != cli.Wide {
			_, err := fmt.Fprintf(f.Out(), "… and %d more problems (-o wide)\n", len(problems)-i)
			return err
		}
		if _, err := fmt.Fprintln(f.Out(), render.Clean(p.String())); err != nil {
			return err
		}
	}
	return nil
}

func newCatalogGetCmd(f *cli.Factory) *cobra.Command {
	o := &catalogOptions{}
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print a key's value, decoded; a key that ends in / stands for all below it",
		Example: `walctl catalog get streamingcoord-meta/version
walctl catalog get streamingnode-meta/wal/by-dev-rootcoord-dml_3/ --raw`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.key = args[0]
			return o.over(cmd.Context(), f, getKeys)
		},
	}
	cmd.Flags().BoolVar(&o.raw, "raw", false, "values as base64 of their bytes, without the credentials in them (export has all)")
	o.catalog.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused)
}

type keyReport struct {
	Key         string          `json:"key"`
	ModRevision int64           `json:"mod_revision"`
	Value       json.RawMessage `json:"value"`
}

func getKeys(ctx context.Context, f *cli.Factory, o *catalogOptions, cat catalog.Catalog) error {
	kvs, _, err := cat.Range(ctx, o.key)
	if err != nil {
		return err
	}
	found := 0
	for _, kv := range kvs {
		if kv.Key != o.key && !strings.HasSuffix(o.key, "/") {
			continue
		}
		found++
		r := keyReport{kv.Key, kv.ModRevision, nil}
		if o.raw {
			text := message.Hidden
			if shown := recovery.WithoutCredentials(kv.Key, kv.Value); shown != nil || kv.Value == nil {
				text = base64.StdEncoding.EncodeToString(shown)
			}
			r.Value, _ = json.Marshal(text) // a string always encodes
		} else {
			r.Value = recovery.ValueJSON(kv.Key, kv.Value)
		}
		if err := render.NDJSON(f.Out(), r); err != nil {
			return err
		}
	}
	if found == 0 {
		return fmt.Errorf("no key %s in the catalog; `walctl catalog show` lists the WALs it holds", o.key)
	}
	return nil
}

func newCatalogExportCmd(f *cli.Factory) *cobra.Command {
	o := &catalogOptions{}
	cmd := &cobra.Command{
		Use:   "export --to CATALOG",
		Short: "Copy a catalog's keys into a new file",
		Long: `Copy a catalog's keys into a new file, readable by its owner only. Without --prefix
that is everything below the root, users' password hashes included; --prefix
streamingnode-meta/ is enough to look at WALs.`,
		Example: `walctl catalog export --to kvjson:copy.json --prefix streamingnode-meta/
walctl catalog export --catalog snapshot:etcd.db --to file:copy.db`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.to == "" {
				return cli.Usagef("say where to with --to file:PATH or kvjson:PATH")
			}
			var err error
			if o.toSpec, err = o.files.CatalogPath("--to", o.to); err != nil {
				return err
			}
			o.files.MadeFrom(o.catalog.Spec)
			if err := o.files.TakeStdout(f, o.output, o.toSpec.Path); err != nil {
				return err
			}
			if err := o.files.CatalogRule().Check(o.toSpec.Path); err != nil {
				return err
			}
			return o.over(cmd.Context(), f, exportCatalog)
		},
	}
	cmd.Flags().StringVar(&o.to, "to", "", "a new `file:PATH|kvjson:PATH`; kvjson:- is standard output")
	o.files.Add(cmd.Flags())
	cmd.Flags().StringVar(&o.prefix, "prefix", "", "only keys that begin with this")
	o.catalog.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused)
}

func exportCatalog(ctx context.Context, f *cli.Factory, o *catalogOptions, cat catalog.Catalog) error {
	kv, err := catalog.Export(ctx, cat, o.prefix)
	if err != nil {
		return err
	}
	if err := o.files.WriteCatalog(ctx, o.toSpec, kv, catalog.Options{}); err != nil {
		return err
	}
	f.Notef("%d keys written to %s", len(kv), o.to)
	return nil
}

func newCatalogImportCmd(f *cli.Factory) *cobra.Command {
	o := &catalogOptions{}
	cmd := &cobra.Command{
		Use:   "import CATALOG --pchannel NAME --out PLAN",
		Short: "Plan to bring one WAL's keys to those of another catalog",
		Long: `Plan to bring one WAL's keys to those of another catalog: of a copy taken earlier,
or one edited by hand. Nothing is written to the catalog: apply does that, with its
guards, from the plan saved to --out. Keys the other catalog does not have stay
unless --delete is given.`,
		Example: `walctl catalog import kvjson:copy.json --pchannel by-dev-rootcoord-dml_3 --out p.json
walctl apply p.json --reason "back to last night's copy"`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			o.catalog.AnyRoot = true // a WAL's keys may be what it lost
			if o.out == "" || o.pchannel == "" {
				return cli.Usagef("name the WAL with --pchannel and the plan's file with --out")
			}
			o.files.MadeFrom(o.file, o.catalog.Spec)
			if err := o.files.TakeStdout(f, o.output, o.out); err != nil {
				return err
			}
			if err := o.files.CheckPlan(o.out); err != nil {
				return err
			}
			return o.over(cmd.Context(), f, importCatalog)
		},
	}
	p := cmd.Flags()
	p.StringVar(&o.out, "out", "", "save the plan to this `FILE`")
	o.files.Add(p)
	p.StringVar(&o.pchannel, "pchannel", "", "the WAL's full `NAME`")
	p.BoolVar(&o.remove, "delete", false, "delete the WAL's keys the other catalog does not have")
	o.catalog.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused)
}

func importCatalog(ctx context.Context, f *cli.Factory, o *catalogOptions, cat catalog.Catalog) error {
	from, err := f.OpenCatalog(ctx, cli.CatalogFlags{Spec: o.file}, nil, false)
	if err != nil {
		return err
	}
	defer from.Close()
	want, err := catalog.Export(ctx, from, catalog.WALPrefix(o.pchannel))
	if err != nil {
		return err
	}
	if len(want) == 0 {
		return fmt.Errorf("%s has no key of %s", o.file, o.pchannel)
	}
	md, _, err := cat.Load(ctx, o.pchannel)
	if err != nil {
		return err
	}
	if !o.remove {
		for k, v := range md.KV {
			if _, ok := want[k]; !ok {
				want[k] = v
			}
		}
	}
	binding, err := plans.BindingOf(ctx, f, o.catalog, cat)
	if err != nil {
		return err
	}
	p, err := plan.Build(plan.Input{
		PChannel: o.pchannel, Before: md.KV, Revisions: md.Revisions,
		Edits:   plan.Replayed(o.pchannel, md.KV, want, plan.KindImport, nil, "import"),
		Binding: binding, Created: f.Now(),
		Notes: []string{"the log was not looked at: `walctl recover` on the result says what a restart makes of it"},
	})
	if err != nil {
		return err
	}
	if err := o.files.WritePlan(o.out, p); err != nil {
		return err
	}
	if err := plans.Show(f, p, false); err != nil {
		return err
	}
	switch {
	case p.Empty():
		return f.Next("walctl catalog show")
	case !p.Applicable:
		return f.Next("walctl catalog get " + catalog.WALPrefix(o.pchannel))
	}
	return f.Next(plans.Apply(f, o.out, ""))
}
