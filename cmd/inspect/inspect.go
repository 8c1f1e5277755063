// Package inspect is walctl inspect: the overview of logs, counts, records, one message.
package inspect

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/pkg/walreader"
)

type options struct {
	wals    []string // none = every pchannel of the context
	wal     string   // the one that is looked into
	jobs    cli.JobsFlag
	source  cli.WALFlags
	place   cli.RangeFlags
	filter  cli.FilterFlags
	catalog cli.CatalogFlags
	output  cli.Output
	stats   string // "", or what to count by
	records bool
	id      string
	data    bool
	follow  bool
	failOn  cli.FailOn
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "inspect [WAL…]",
		Short: "Show what is in a log",
		Long: `Show what is in a log: its range, time span and terms, counts and bytes by type,
transactions, and what comes after the last TimeTick. Several WALs, a place that
holds several logs, or no WAL (every pchannel of the context): one line for each,
--jobs logs looked at together. A live log that the broker is about to
delete is a finding.

` + cli.RangeHelp + `

A row's data, and what other messages carry as payload, is shown with --data only.`,
		Example: `walctl inspect dml_3
walctl inspect dml_3 dml_7 ./evidence
walctl inspect ./evidence --stats=vchannel
walctl inspect dml_3 --records --from -2h --type Insert,Delete --limit 20
walctl inspect dml_3 --id 15/1517/0 --data
walctl inspect dml_3 --records -o ndjson --data > dml_3.jsonl
walctl inspect dml_3 -f --records`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			if err := opts.check(); err != nil {
				return err
			}
			return run(cmd.Context(), f, opts)
		},
	}
	p := cmd.Flags()
	p.StringVar(&opts.stats, "stats", "", "count only, by any of `type,vchannel,size,term`")
	p.Lookup("stats").NoOptDefVal = "type"
	p.BoolVar(&opts.records, "records", false, "list the messages")
	p.StringVar(&opts.id, "id", "", "show one message in full, by its `ID`")
	p.BoolVar(&opts.data, "data", false, "show payloads: rows, and what other messages carry")
	p.BoolVarP(&opts.follow, "follow", "f", false, "with --records: wait for more at the end")
	cli.AddOutput(cmd, &opts.output)
	opts.place.Add(cmd)
	opts.filter.Add(cmd)
	opts.source.Add(cmd)
	opts.catalog.Add(cmd)
	opts.failOn.Add(cmd)
	opts.jobs.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func (o *options) check() error {
	for _, by := range o.statsBy() {
		if by != "type" && by != "vchannel" && by != "size" && by != "term" {
			return cli.Usagef("--stats=%s: count by type, vchannel, size or term", by)
		}
	}
	modes := 0
	for _, on := range []bool{o.stats != "", o.records, o.id != ""} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return cli.Usagef("--stats, --records and --id are different questions: ask one")
	case o.follow && !o.records:
		return cli.Usagef("-f follows records: add --records")
	case o.data && !o.records && o.id == "":
		return cli.Usagef("--data shows payloads of --records or --id: add one of them")
	case o.data && o.records && o.output != cli.NDJSON:
		return cli.Usagef("--records --data needs -o ndjson: payloads have no column")
	case o.follow && o.output != cli.Table && o.output != cli.Wide && o.output != cli.NDJSON:
		return cli.Usagef("-f has no end: use -o table, wide or ndjson")
	case len(o.wals) == 0 && modes > 0 && !o.filter.ListsTypes():
		return cli.Usagef("name the WAL to look into")
	case len(o.wals) > 1 && modes > 0:
		return cli.Usagef("--stats, --records and --id look into one log, and %d are named", len(o.wals))
	}
	return nil
}

// statsBy is what --stats counts by; none without it.
func (o *options) statsBy() []string {
	if o.stats == "" {
		return nil
	}
	return strings.Split(o.stats, ",")
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	if o.filter.ListsTypes() {
		return cli.PrintTypes(f.Out())
	}
	if len(o.wals) != 1 {
		refs, err := f.LogRefs(ctx, o.wals, o.source)
		if err != nil {
			return err
		}
		if o.source.PChannel != "" {
			return cli.Usagef("--pchannel %s names one log, and several are asked about; give one WAL, or leave it out", o.source.PChannel)
		}
		return inspectAll(ctx, f, o, refs)
	}
	o.wal = o.wals[0]
	if _, err := (&cli.FilterFlags{Types: o.filter.Types}).Filter(); err != nil {
		return err // before a cluster is asked
	}
	s, err := f.OpenWAL(ctx, o.wal, o.source)
	var place *walreader.SpecError
	if errors.As(err, &place) && place.Several && !o.records && o.id == "" && o.stats == "" {
		refs := make([]cli.LogRef, len(place.Choices))
		for i, log := range place.Choices {
			refs[i] = cli.LogRef{WAL: o.wal, Log: log}
		}
		return inspectAll(ctx, f, o, refs)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if err := f.NameCollections(ctx, &o.filter, s, o.catalog); err != nil {
		return err
	}
	filter, err := o.filter.Filter()
	if err != nil {
		return err
	}
	switch {
	case o.id != "":
		return inspectID(ctx, f, o, s)
	case o.records:
		err = inspectRecords(ctx, f, o, s, filter)
	default:
		err = inspectOverview(ctx, f, o, s, filter)
	}
	if err != nil {
		return err
	}
	err = filter.Unmatched()
	if err != nil && (o.place.From != "" || o.place.To != "" || o.place.Limit > 0) { // elsewhere there may be
		f.Notef("note: in the range that was read, %v", err)
		return nil
	}
	return err
}
