package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type verifyOptions struct {
	wals    []string // none = every pchannel of the context
	source  cli.WALFlags
	catalog cli.CatalogFlags
	place   cli.RangeFlags
	output  cli.Output
	failOn  cli.FailOn
	memory  cli.MemoryFlag
	jobs    cli.JobsFlag
	dropped bool
	fields  bool
}

// verifyReport is the JSON answer.
type verifyReport struct {
	render.Header
	*diagnose.VerifyReport
	Torn   string         `json:"torn_tail,omitempty"`
	Damage []cli.BadPlace `json:"damage,omitempty"`
}

func newVerifyCmd(f *cli.Factory) *cobra.Command {
	opts := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify [WAL…]",
		Short: "Judge whether a log is sound",
		Long: `Judge whether a log is sound: every invariant a healthy log keeps, in one pass.
What a later reader would drop is counted, and listed with --dropped.

Retry duplicates are warnings; what loses or hides data is an error or critical;
what could not be checked is said. With a catalog the checkpoint is judged too.

Several WALs, a place that holds several logs, or no WAL (every pchannel of the
context): --jobs logs at once, one line a log, worst first, then what is not sound.

` + cli.RangeHelp,
		Example: `walctl verify dml_3
walctl verify ./evidence -o json
walctl verify dml_3 --dropped
walctl verify dml_3 dml_7 ./evidence --jobs 4
walctl verify wal.jsonl.zst --catalog kvjson:catalog.json --fail-on warning`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			return runVerify(cmd.Context(), f, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.dropped, "dropped", false, "list every message a later reader would drop")
	cmd.Flags().BoolVar(&opts.fields, "fields", false, "read an archive's payloads too, to hold the fields of every insert against its schema")
	cli.AddOutput(cmd, &opts.output)
	opts.failOn.Add(cmd)
	opts.memory.Add(cmd)
	opts.jobs.Add(cmd)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func runVerify(ctx context.Context, f *cli.Factory, o *verifyOptions) error {
	return f.OneOrMany(ctx, o.wals, o.source, func(ref cli.LogRef) error {
		ctx, ended := o.memory.Bound(ctx, 1)
		show, done := f.Progress("verify")
		defer done()
		report, err := verifyLog(ctx, f, o, ref, show)
		if report != nil {
			err = errors.Join(writeVerify(f, o, report), err)
		}
		return ended(err)
	}, func(refs []cli.LogRef) error {
		jobs := o.jobs.Of(len(refs))
		ctx, ended := o.memory.Bound(ctx, jobs)
		return ended(verifyMany(ctx, f, o, refs, jobs))
	})
}

// verifyMany judges several logs, jobs of them at once.
func verifyMany(ctx context.Context, f *cli.Factory, o *verifyOptions, refs []cli.LogRef, jobs int) error {
	m := cli.Many[verifyReport]{
		Command: "verify", Output: o.output,
		Columns:   []render.Column{{Name: "records", Right: true}, {Name: "never read", Right: true}, {Name: "rows lost", Right: true, Wide: true}},
		Header:    func(r *verifyReport) *render.Header { return &r.Header },
		Unchecked: func(r *verifyReport) []string { return whyUnchecked(r.VerifyReport) },
		Cells: func(r *verifyReport) []render.Cell {
			return []render.Cell{render.Count(r.Records), render.Count(r.Dropped.Messages), render.Count(int64(r.Dropped.Rows))}
		},
	}
	return m.Ask(ctx, f, refs, jobs, o.source, func(ctx context.Context, ref cli.LogRef, w cli.WALFlags, show source.Progress) (*verifyReport, error) {
		each := *o
		each.source = w
		return verifyLog(ctx, f, &each, ref, show)
	})
}

// verifyLog judges one log. The error beside a report is what the report leads to.
func verifyLog(ctx context.Context, f *cli.Factory, o *verifyOptions, ref cli.LogRef, show source.Progress) (*verifyReport, error) {
	s, err := f.OpenWAL(ctx, ref.WAL, ref.Flags(o.source))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return nil, err
	}
	want := diagnose.VerifyOptions{
		WAL: ref.WAL, PChannel: s.Describe().PChannel, ListDropped: o.dropped || o.output == cli.JSON, Ends: s.Bounds,
		Partial: rng.From.Kind != source.Unbounded || rng.From.Offset != 0, Progress: show,
	}
	if c, err := f.Config(); err == nil {
		want.Version = c.MilvusVersion
	}
	if err := verifyPositions(ctx, f, o, s, &want); err != nil {
		return nil, err
	}
	rng.Columns = diagnose.VerifyColumns
	bad := &cli.Damage{Factory: f}
	report, err := verifyRange(ctx, o, s, rng, want, bad)
	if err != nil {
		return nil, err
	}
	if last, err := message.ParseText(message.BackendPulsar, report.Last); err == nil {
		report.Findings = append(report.Findings, f.Soon(ctx, s, ref.WAL, o.catalog, last)...)
	}
	started, err := f.Started(ctx, s, ref.WAL)
	if err != nil {
		return nil, err
	}
	report.Findings = append(started, report.Findings...) // to capture is the first thing to do
	out := verifyReport{f.HeaderOf(ref, "verify", cli.DescribeWAL(s), report.Findings), report, bad.Torn, bad.Places}
	return &out, errors.Join(bad.Err(), o.failOn.Check(report.Findings), cli.NotWhole(s, rng))
}

// verifyRange reads a range and judges it, with what the messages' fields and, where
// the whole log was asked about, the bytes aside tell.
func verifyRange(ctx context.Context, o *verifyOptions, s source.Source, rng source.Range, want diagnose.VerifyOptions, bad *cli.Damage) (*diagnose.VerifyReport, error) {
	r, fields, err := openVerify(ctx, s, rng, want.Schemas)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var bytes *source.ByteCheck
	if rng.From.Kind == source.Unbounded && rng.To.Kind == source.Unbounded && rng.Limit == 0 {
		bytes = source.CheckBytes(ctx, s)
		defer bytes.Stop()
	}
	report, err := diagnose.Verify(ctx, &cli.Watched{ColumnReader: r, Damage: bad}, want)
	if err != nil {
		return nil, err
	}
	if err := verifyFields(ctx, s, rng, o, report, fields, want); err != nil {
		return nil, err
	}
	return report, tellBytes(bytes, s, bad)
}

// openVerify opens a range for verify. Where every record is read whole anyway the
// fields of inserts are watched on the way; where they lie aside only definitions are.
func openVerify(ctx context.Context, s source.Source, rng source.Range, known diagnose.SchemasFunc) (source.ColumnReader, *diagnose.FieldWatch, error) {
	fields := diagnose.NewFieldWatch(known)
	if aside(s) {
		rng.Payload = source.PayloadDDL
		r, err := source.OpenColumns(ctx, s, rng)
		if err != nil {
			return nil, nil, err
		}
		return &definitionReader{source.AheadColumns(ctx, r), fields}, fields, nil
	}
	rng.Props, rng.Payload = true, source.PayloadAll
	r, err := s.Open(ctx, rng)
	if err != nil {
		return nil, nil, err
	}
	return source.NewColumnReader(&fieldReader{r, fields}), fields, nil
}

// aside reports whether a source keeps payloads apart from what verify reads.
func aside(s source.Source) bool {
	_, ok := s.(source.ColumnSource)
	return ok
}

// definitionReader shows the definitions that pass to a watch.
type definitionReader struct {
	source.ColumnReader
	fields *diagnose.FieldWatch
}

func (r *definitionReader) NextColumns(ctx context.Context) (*message.Columns, error) {
	c, err := r.ColumnReader.NextColumns(ctx)
	if err == nil {
		r.fields.Definitions(c)
	}
	return c, err
}

// fieldReader shows what passes to a watch.
type fieldReader struct {
	source.Reader
	fields *diagnose.FieldWatch
}

func (r *fieldReader) Next(ctx context.Context) (*message.Message, error) {
	m, err := r.Reader.Next(ctx)
	if err == nil {
		r.fields.See(m)
	}
	return m, err
}

// verifyFields adds what the fields of inserts tell. An archive's payloads are read
// for it where a schema dropped a field, or where --fields asks.
func verifyFields(ctx context.Context, s source.Source, rng source.Range, o *verifyOptions, report *diagnose.VerifyReport, fields *diagnose.FieldWatch, want diagnose.VerifyOptions) error {
	if !aside(s) {
		report.AddFields(fields, want, "")
		return nil
	}
	held := cli.HeldOf(s)
	switch {
	case held != nil && held.NoPayload:
		report.AddFields(nil, want, "the fields of inserts: the archive is without payload/")
		return nil
	case !fields.MayDrop() && !o.fields:
		report.AddFields(nil, want, "the fields of inserts: no schema of the log drops a field, so an archive's payloads are not read; --fields reads them")
		return nil
	}
	rng.Payload, rng.Columns = source.PayloadAll, 0
	r, err := s.Open(ctx, rng)
	if err != nil {
		return err
	}
	defer r.Close()
	fields = diagnose.NewFieldWatch(want.Schemas)
	if err := fields.Watch(ctx, r); err != nil {
		return err
	}
	report.AddFields(fields, want, "")
	return nil
}

// tellBytes tells what was found where the pass had no need to read: an archive's
// payloads, evidence and second manifest. What the pass has met is not told again.
// A check that is nil was not asked for.
func tellBytes(c *source.ByteCheck, s source.Source, bad *cli.Damage) error {
	if c == nil {
		return nil
	}
	found, err := c.Wait()
	if err != nil {
		return err
	}
	for _, d := range found {
		met := slices.ContainsFunc(bad.Places, func(p cli.BadPlace) bool {
			return strings.Contains(p.Place, d.Path) && strings.Contains(p.Cause, d.Place) || strings.Contains(p.Cause, d.Path)
		})
		if !met {
			_, _ = bad.See(d.Corrupt(s.Describe().Location)) // always noted
		}
	}
	return nil
}

// verifyPositions brings the catalog's checkpoint and flush positions, none where
// there is no catalog. One that was not asked for by name and does not answer is
// only noted.
func verifyPositions(ctx context.Context, f *cli.Factory, o *verifyOptions, s source.Source, want *diagnose.VerifyOptions) error {
	pass := func(err error) error {
		if o.catalog.Spec == "" && ctx.Err() == nil {
			f.NoteOnce("note: the checkpoint is not checked: %v", err)
			return nil
		}
		return err
	}
	cat, err := f.OpenCatalog(ctx, o.catalog, s, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return nil
	}
	if err != nil {
		return pass(err)
	}
	defer cat.Close()
	pchannel, err := cli.PChannelIn(ctx, s, cat)
	if err != nil {
		return pass(err)
	}
	if want.CatalogTerm, err = catalog.TermOf(ctx, cat, pchannel); err != nil {
		return pass(err)
	}
	have, err := f.EnvOf(s).Backend(ctx)
	if err != nil {
		return err
	}
	stored, err := storedOf(ctx, cat, pchannel, have)
	if err != nil {
		return pass(err)
	}
	md := stored.metadata
	want.Schemas = func(vchannel string) ([]catalog.KnownSchema, bool) { return md.SchemasOf(vchannel, stored.collections) }
	want.Flushed = stored.live
	cp := md.Checkpoint
	if cp == nil {
		return nil
	}
	out := &diagnose.Checkpoint{Key: catalog.CheckpointKey(pchannel), TimeTick: cp.TimeTick}
	if out.ID, err = recovery.CheckpointID(md, have); err != nil {
		if out.ID = (message.ID{}); cp.GetMessageId().GetId() != "" {
			out.Unread = err.Error()
		}
	}
	if role, ok := message.RoleOf(cp.ReplicateConfig, message.OwnCluster(cp.ReplicateConfig, pchannel)); ok {
		out.Role = &role
	}
	want.Checkpoint = out
	return nil
}

func writeVerify(f *cli.Factory, o *verifyOptions, r *verifyReport) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.NDJSON:
		if o.dropped {
			return render.Lines(f.Out(), r.Dropped.List)
		}
		return render.Lines(f.Out(), r.Header.Findings)
	case cli.CSV:
		if o.dropped {
			return droppedTable(r.Dropped.List).CSV(f.Out())
		}
		return findingTable(r.Header.Findings).CSV(f.Out())
	}
	if _, err := fmt.Fprintln(f.Out(), verdictLine(r.VerifyReport)); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), cli.Shown(r.Header.Findings, o.output)); err != nil {
		return err
	}
	if err := writeDropped(f, o, &r.Dropped); err != nil {
		return err
	}
	next := []string{}
	for _, x := range r.Header.Findings {
		if x.Severity >= diagnose.SeverityError && len(next) < 2 {
			next = append(next, x.Next)
		}
	}
	return f.Next(next...)
}

// verdictLine is the first line: how much was read and what came of it.
func verdictLine(r *diagnose.VerifyReport) string {
	line := fmt.Sprintf("%s · %d invariants: %d hold", render.Plural(int(r.Records), "record"), len(r.Invariants), r.Hold)
	if r.Broken > 0 {
		line += fmt.Sprintf(", %d broken", r.Broken)
	}
	if r.Unchecked > 0 {
		line += fmt.Sprintf(", %d not checked (%s)", r.Unchecked, strings.Join(whyUnchecked(r), "; "))
	}
	return line
}

// whyUnchecked says why invariants could not be checked, each reason once.
func whyUnchecked(r *diagnose.VerifyReport) []string {
	why := []string{}
	for _, i := range r.Invariants {
		if i.Why != "" && !slices.Contains(why, i.Why) {
			why = append(why, i.Why)
		}
	}
	return why
}

func never(messages int64) string {
	if messages == 1 {
		return "1 message never reaches"
	}
	return render.Plural(int(messages), "message") + " never reach"
}

func writeDropped(f *cli.Factory, o *verifyOptions, d *diagnose.DroppedSummary) error {
	if d.Messages == 0 {
		return nil
	}
	slices.SortFunc(d.VChannels, func(a, b diagnose.DroppedCount) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Name, b.Name))
	})
	if _, err := fmt.Fprintf(f.Out(), "%s a reader: %s, %s\n",
		never(d.Messages), render.Plural(int(d.Rows), "row"), render.Plural(int(d.Deletes), "delete")); err != nil {
		return err
	}
	t := render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "vchannel"}, {Name: "messages", Right: true}, {Name: "rows", Right: true}, {Name: "deletes", Right: true}}}
	for _, c := range d.VChannels {
		t.Add(render.Text(cmp.Or(c.Name, "(all)")), render.Count(c.Messages), render.Count(int64(c.Rows)), render.Count(int64(c.Deletes)))
	}
	if !o.dropped {
		return t.Write(f.Out(), f.Style(o.output))
	}
	return droppedTable(d.List).Write(f.Out(), f.Style(o.output))
}

// droppedTable lists what a later reader drops, with the TimeTick it came after.
func droppedTable(list []diagnose.Dropped) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "id"}, {Name: "type"}, {Name: "vchannel"}, {Name: "rows", Right: true}, {Name: "term", Right: true},
		{Name: "time"}, {Name: "came after"}, {Name: "tt", Wide: true, Right: true}, {Name: "came after tt", Wide: true, Right: true}}}
	for _, x := range list {
		t.Add(render.Text(x.IDText), render.Text(x.TypeName), render.Text(x.VChannel), render.Count(int64(x.Rows)), render.Number(x.Term),
			render.Tick(x.TimeTick), render.Tick(x.Behind), render.Number(x.TimeTick), render.Number(x.Behind))
	}
	return t
}

func findingTable(all []diagnose.Finding) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "severity"}, {Name: "code"}, {Name: "count", Right: true}, {Name: "id"}, {Name: "to"}, {Name: "vchannel"}, {Name: "meaning"}}}
	for _, x := range all {
		t.Add(render.Text(x.Severity.String()), render.Text(x.Code), render.Count(x.Count), render.Text(x.Where.ID), render.Text(x.Where.To),
			render.Text(x.Where.VChannel), render.Text(x.Meaning))
	}
	return t
}
