package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/salvage"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type salvageOptions struct {
	wals        []string // none = every pchannel of the context
	jobs        cli.JobsFlag
	source      cli.WALFlags
	catalog     cli.CatalogFlags
	place       cli.RangeFlags
	until       string
	collections []string
	partitions  []string
	segments    []int64
	unmatched   func() error // why none of vchannels was met
	vchannels   []string
	dropped     bool
	deleted     bool
	lostOnly    bool
	tail        bool
	dir         string
	apart       func(source.Source, cli.LogRef) (dir string, err error) // several logs: where the rows of each go
	data        bool
	memory      cli.Size
	output      cli.Output
}

func newSalvageCmd(f *cli.Factory) *cobra.Command {
	opts := &salvageOptions{}
	cmd := &cobra.Command{
		Use:   "salvage [WAL…]",
		Short: "Bring rows out of a log, to Parquet or NDJSON",
		Long: `Bring rows out of a log: those a reader gets, with deletes, upserts, drops,
truncations and transactions honoured. The schema is the log's own; where the log
has lost it, the catalog's.

--dir DIR writes DIR/<collection id>/*.parquet in the layout that Milvus's bulk
import takes, and DIR/salvage.json: counts in, out, and why not. -o ndjson --data
prints one row a line. Without either: the counts.

Several WALs, a place that holds several logs, or no WAL (every pchannel of the
context): --jobs logs at once, one line a log. Each has a directory of its own in DIR,
by the name of its pchannel; rows that are printed come log by log.

--lost-only brings only the rows that readers drop, such as those of a stale
writer, and of these the ones that are missing: neither delivered under another
id, nor deleted or inserted again later. The log is read twice.

` + cli.RangeHelp,
		Example: `walctl salvage dml_3 --collection orders --dir ./rows
walctl salvage dml_3 --lost-only --dir ./rows
walctl salvage dml_3 dml_7 --collection orders --dir ./rows
walctl salvage ./evidence --collection 451 --until @2026-11-21T03:00:00Z -o ndjson --data
walctl salvage wal.jsonl.zst --include-dropped --include-deleted --dir ./everything`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals, opts.source.Deleted = args, opts.deleted
			if err := opts.check(); err != nil {
				return err
			}
			return runSalvage(cmd.Context(), f, opts)
		},
	}
	p := cmd.Flags()
	p.StringSliceVar(&opts.collections, "collection", nil, "only this collection, by `ID or name`, repeatable")
	p.StringSliceVar(&opts.partitions, "partition", nil, "only this partition, by `ID or name`, repeatable")
	p.Int64SliceVar(&opts.segments, "segment", nil, "only rows of this segment, by `ID`, repeatable")
	p.StringSliceVar(&opts.vchannels, "vchannel", nil, "only this vchannel, repeatable; the whole `NAME`, or its end after - or _")
	p.BoolVar(&opts.dropped, "include-dropped", false, "also rows of dropped collections and partitions, and truncated ones")
	p.BoolVar(&opts.deleted, "include-deleted", false, "also deleted rows; off a disk also messages that retention deleted and whose bytes still stand there")
	p.BoolVar(&opts.lostOnly, "lost-only", false, "only rows that readers drop, and that are missing for it")
	p.BoolVar(&opts.tail, "include-tail", false, "also what no TimeTick has confirmed yet, as the next opening would")
	p.StringVar(&opts.until, "until", "", "as of this `PLACE`: an id, @TIME, or tt:TSO; later rows and deletes do not count")
	p.StringVar(&opts.dir, "dir", "", "write Parquet files into this new or empty `DIR`")
	p.BoolVar(&opts.data, "data", false, "with -o ndjson: print the rows")
	p.Var(&opts.memory, "memory", "hold no more than this at once, such as 512MiB, and stop where a log needs more (2GiB unless given)")
	opts.jobs.Add(cmd)
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.NDJSON)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	opts.source.Again = true
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func (o *salvageOptions) check() error {
	switch {
	case o.output == cli.NDJSON && !o.data:
		return cli.Usagef("-o ndjson prints rows: that is data, so it needs --data too")
	case o.data && o.output != cli.NDJSON:
		return cli.Usagef("--data prints rows with -o ndjson only; --dir DIR writes them to files")
	case o.data && o.dir != "":
		return cli.Usagef("--dir and -o ndjson --data are two places for the rows: choose one")
	}
	return nil
}

// salvageReport is the JSON answer.
type salvageReport struct {
	render.Header
	*salvage.Report
	Dir    string         `json:"dir,omitempty"`
	Torn   string         `json:"torn_tail,omitempty"`
	Damage []cli.BadPlace `json:"damage,omitempty"`
	none   error          // of one log of several: why it has nothing of what was asked for
}

func runSalvage(ctx context.Context, f *cli.Factory, o *salvageOptions) error {
	limit := int64(cmp.Or(o.memory, cli.DefaultMemory))
	return f.OneOrMany(ctx, o.wals, o.source, func(ref cli.LogRef) error {
		ctx, ended := cli.BoundMemory(ctx, limit, 1)
		show, done := f.Progress("salvage")
		defer done()
		report, err := salvageLog(ctx, f, o, ref, show)
		if report != nil {
			err = errors.Join(o.write(f, report), err)
		}
		return ended(err)
	}, func(refs []cli.LogRef) error {
		jobs := o.jobs.Of(len(refs))
		if o.data {
			jobs = 1 // rows are printed log by log
		}
		ctx, ended := cli.BoundMemory(ctx, limit, jobs)
		return ended(salvageMany(ctx, f, o, refs, jobs))
	})
}

// salvageMany brings the rows out of several logs, which share --memory.
func salvageMany(ctx context.Context, f *cli.Factory, o *salvageOptions, refs []cli.LogRef, jobs int) error {
	m := cli.Many[salvageReport]{
		Command: "salvage", Output: o.output,
		Columns: []render.Column{{Name: "rows read", Right: true}, {Name: "out", Right: true}, {Name: "collections", Right: true}, {Name: "dir"}},
		Header:  func(r *salvageReport) *render.Header { return &r.Header },
		Cells: func(r *salvageReport) []render.Cell {
			return []render.Cell{render.Count(r.RowsIn), render.Count(r.RowsOut), render.Count(int64(len(r.Collections))), render.Text(r.Dir)}
		},
	}
	dirs := logDirs{below: o.dir, taken: map[string]cli.LogRef{}}
	answers := m.Answers(ctx, f, refs, jobs, o.source, func(ctx context.Context, ref cli.LogRef, w cli.WALFlags, show source.Progress) (*salvageReport, error) {
		each := *o
		each.source = w
		each.memory = cli.Size(int64(cmp.Or(o.memory, cli.DefaultMemory)) / int64(jobs))
		each.apart = dirs.of
		return salvageLog(ctx, f, &each, ref, show)
	})
	m.Quiet = o.data
	if i := slices.IndexFunc(answers, func(a cli.Asked[salvageReport]) bool { return a.Report == nil || a.Report.none == nil }); i < 0 {
		return answers[0].Report.none // no log has what was asked for
	}
	return m.Write(ctx, f, answers)
}

// salvageLog brings the rows out of one log. The error beside a report is its share of
// the exit code.
func salvageLog(ctx context.Context, f *cli.Factory, o *salvageOptions, ref cli.LogRef, show source.Progress) (*salvageReport, error) {
	s, err := f.OpenWAL(ctx, ref.WAL, ref.Flags(o.source))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if o.apart != nil {
		if o.dir, err = o.apart(s, ref); err != nil {
			return nil, err
		}
	}
	want, err := o.options(ctx, f, s)
	if err != nil {
		return nil, err
	}
	bad := &cli.Damage{Factory: f}
	want.ReadError = bad.See
	want.Progress = show

	header := f.HeaderOf(ref, "salvage", cli.DescribeWAL(s), nil)
	report, err := o.run(ctx, f, s, want)
	none := errors.Is(err, salvage.ErrNoCollection)
	if err == nil && o.unmatched != nil {
		err = o.unmatched()
		none = err != nil
	}
	if none && o.apart != nil { // another log has it
		return &salvageReport{Header: header, Report: &salvage.Report{}, none: err}, bad.Err()
	}
	if err != nil {
		return nil, err
	}
	answer := &salvageReport{Header: header, Report: report, Dir: o.dir, Torn: bad.Torn, Damage: bad.Places}
	return answer, errors.Join(bad.Err(), undecoded(report), cli.NotWhole(s, want.Range))
}

// logDirs gives each of several logs a directory of its own.
type logDirs struct {
	below string // "" = no files are written
	mu    sync.Mutex
	taken map[string]cli.LogRef
}

func (d *logDirs) of(s source.Source, ref cli.LogRef) (string, error) {
	if d.below == "" {
		return "", nil
	}
	name := filepath.Base(cmp.Or(s.Describe().PChannel, ref.Log, ref.WAL))
	d.mu.Lock()
	defer d.mu.Unlock()
	other, taken := d.taken[name]
	switch {
	case name == "." || name == ".." || name == string(filepath.Separator):
		return "", cli.Usagef("%s has no name for a directory of its own in %s; salvage it alone, with a --dir of its own", ref, d.below)
	case taken:
		return "", cli.Usagef("the rows of %s are written to %s already, and %s is a log of the same name; salvage it alone, with a --dir of its own", other, filepath.Join(d.below, name), ref)
	}
	d.taken[name] = ref
	return filepath.Join(d.below, name), nil
}

// run brings the rows where they were asked for.
func (o *salvageOptions) run(ctx context.Context, f *cli.Factory, s source.Source, want salvage.Options) (*salvage.Report, error) {
	if o.dir == "" {
		var sink salvage.Sink = countOnly{}
		if o.data {
			sink = salvage.NewNDJSON(f.Out())
		}
		report, err := salvage.Run(ctx, s, sink, want)
		return report, salvageError(err)
	}
	d, err := salvage.NewDir(o.dir, salvage.DirOptions{})
	if err != nil {
		return nil, salvageError(err)
	}
	report, err := salvage.Run(ctx, s, d, want)
	if err != nil {
		return report, errors.Join(salvageError(err), d.Close(nil))
	}
	return report, d.Close(report)
}

// salvageError gives an error that the command line can answer its exit code.
func salvageError(err error) error {
	if errors.Is(err, salvage.ErrNoCollection) || errors.Is(err, salvage.ErrDirNotEmpty) {
		return &cli.UsageError{Err: err}
	}
	return err
}

// countOnly is a sink for the counts alone.
type countOnly struct{}

func (countOnly) Prepare(*salvage.Rows) (salvage.Chunk, error) { return countOnly{}, nil }
func (countOnly) Write() error                                 { return nil }

func (o *salvageOptions) options(ctx context.Context, f *cli.Factory, s source.Source) (salvage.Options, error) {
	env := f.EnvWithCatalog(s, o.catalog)
	rng, err := o.place.Range(ctx, env)
	if err != nil {
		return salvage.Options{}, err
	}
	want := salvage.Options{Range: rng, Tail: o.tail, IncludeDropped: o.dropped, IncludeDeleted: o.deleted, LostOnly: o.lostOnly,
		Collections: o.collections, Partitions: o.partitions, Segments: o.segments}
	if o.until != "" {
		b, err := cli.ParsePlace(ctx, o.until, true, env)
		if err != nil {
			return want, err
		}
		if err := until(&want, b); err != nil {
			return want, err
		}
	}
	want.Memory = int64(cmp.Or(o.memory, cli.DefaultMemory))
	if len(o.vchannels) > 0 {
		filter, err := (&cli.FilterFlags{VChannels: o.vchannels}).Filter()
		if err != nil {
			return want, err
		}
		want.VChannel, o.unmatched = filter.MatchesVChannel, filter.Unmatched
	}
	want.Schemas, err = o.schemas(ctx, f, s)
	return want, err
}

// until stops at a delivery, or where an id was given behind the record it names.
func until(want *salvage.Options, b source.Bound) error {
	switch b.Kind {
	case source.AtTimeTick:
		want.UntilTimeTick = b.TimeTick
	case source.AtTime:
		want.UntilTimeTick = message.LastTSOAt(b.Time)
	default:
		if want.Range.To.Kind != source.Unbounded {
			return cli.Usagef("--to and an id for --until both end the log: give one of them")
		}
		want.Range.To = b
		return nil
	}
	if b.Offset != 0 {
		return cli.Usagef("--until: only an id can be moved by records")
	}
	return nil
}

// undecoded is the exit code's share of rows and deletes that could not be read.
func undecoded(r *salvage.Report) error {
	rows := r.FailedRows
	switch {
	case r.Corrupt():
		return fmt.Errorf("%w: %s, listed as not decodable", cli.ErrCorrupt, render.Plural(int(rows), "row"))
	case r.Incomplete():
		return fmt.Errorf("%w: %s rows or deletes could not be read, listed as not decodable", cli.ErrPartial, render.Thousands(rows+r.Deletes.Predicates+r.Deletes.Encrypted))
	}
	return nil
}

func (o *salvageOptions) write(f *cli.Factory, r *salvageReport) error {
	switch o.output {
	case cli.NDJSON:
		return nil
	case cli.JSON:
		return render.JSON(f.Out(), r)
	}
	verb := "brought out"
	if o.dir == "" {
		verb = "would be brought out"
	}
	if _, err := fmt.Fprintf(f.Out(), "%s read · %s %s\n", render.Plural(int(r.RowsIn), "row"), render.Thousands(r.RowsOut), verb); err != nil {
		return err
	}
	if err := r.table().Write(f.Out(), f.Style(o.output)); err != nil {
		return err
	}
	if err := o.writeReasons(f, r); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintln(f.Out(), "note: "+n); err != nil {
			return err
		}
	}
	if o.dir != "" {
		_, err := fmt.Fprintf(f.Out(), "written to %s; %s tells what and why\n", render.Clean(o.dir), salvage.SummaryName)
		return err
	}
	_, err := fmt.Fprintln(f.Out(), "nothing is written: --dir DIR or -o ndjson --data brings the rows out")
	return err
}

func (r *salvageReport) table() *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "collection"}, {Name: "name"}, {Name: "rows read", Right: true}, {Name: "out", Right: true}, {Name: "not out", Right: true}, {Name: "files", Right: true}}}
	for _, c := range r.Collections {
		t.Add(render.Text(strconv.FormatInt(c.Collection, 10)), render.Text(c.Name), render.Count(c.RowsIn), render.Count(c.RowsOut), render.Count(c.RowsIn-c.RowsOut), render.Count(int64(len(c.Files))))
	}
	return t
}

func (o *salvageOptions) writeReasons(f *cli.Factory, r *salvageReport) error {
	if style := f.Style(o.output); len(r.NotOut) > 0 && style.Terminal && !style.Wide {
		parts := []string{}
		for _, why := range slices.Sorted(maps.Keys(r.NotOut)) {
			parts = append(parts, render.Thousands(r.NotOut[why])+" "+string(why))
		}
		if _, err := fmt.Fprintln(f.Out(), "not out: "+strings.Join(parts, ", ")); err != nil {
			return err
		}
	} else if len(r.NotOut) > 0 {
		t := render.Table{Columns: []render.Column{{Name: "not out"}, {Name: "rows", Right: true}}}
		for _, why := range slices.Sorted(maps.Keys(r.NotOut)) {
			t.Add(render.Text(string(why)), render.Count(r.NotOut[why]))
		}
		if err := t.Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	if len(r.Failures) == 0 {
		return nil
	}
	t := render.Table{Columns: []render.Column{{Name: "not decodable"}, {Name: "type"}, {Name: "vchannel", Wide: true}, {Name: "rows", Right: true}, {Name: "cause"}}}
	const most = 20
	for i := range r.Failures {
		if x := &r.Failures[i]; i < most {
			t.Add(render.Text(x.ID), render.Text(x.Type), render.Text(x.VChannel), render.Count(int64(x.Rows)), render.Text(x.Cause))
		}
	}
	if n := len(r.Failures) - most; n > 0 {
		f.Notef("%d more messages are not decodable: -o json lists them", n)
	}
	return t.Write(f.Out(), f.Style(o.output))
}

// schemas gathers what the catalog knows of the collections. One that was not
// asked for by name and does not answer is only noted.
func (o *salvageOptions) schemas(ctx context.Context, f *cli.Factory, s source.Source) ([]salvage.KnownSchema, error) {
	cat, err := f.OpenCatalog(ctx, o.catalog, s, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return nil, nil
	}
	if err == nil {
		defer cat.Close()
		var out []salvage.KnownSchema
		if out, err = knownSchemas(ctx, cat, s); err == nil {
			return out, nil
		}
	}
	if o.catalog.Spec == "" && ctx.Err() == nil {
		f.NoteOnce("note: schemas are the log's own: %v", err)
		return nil, nil
	}
	return nil, err
}

// knownSchemas reads the schemas the WAL's own keys hold, and RootCoord's.
func knownSchemas(ctx context.Context, cat catalog.Catalog, s source.Source) ([]salvage.KnownSchema, error) {
	pchannel, err := cli.PChannelIn(ctx, s, cat)
	if err != nil {
		return nil, err
	}
	md, _, err := cat.Load(ctx, pchannel)
	if err != nil {
		return nil, err
	}
	all, _, err := catalog.Collections(ctx, cat)
	if err != nil {
		return nil, err
	}
	var out []salvage.KnownSchema
	for id, c := range all {
		k := salvage.KnownSchema{Collection: id, Schema: c.Schema, Partitions: map[int64]string{}}
		for _, p := range c.Partitions {
			k.Partitions[p.GetPartitionID()] = p.GetPartitionName()
		}
		out = append(out, k)
	}
	for _, v := range md.VChannels {
		for _, x := range v.GetCollectionInfo().GetSchemas() {
			out = append(out, salvage.KnownSchema{Collection: v.GetCollectionInfo().GetCollectionId(), TimeTick: x.GetCheckpointTimeTick(), Schema: x.GetSchema()})
		}
	}
	return out, nil
}
