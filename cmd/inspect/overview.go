package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Report is the JSON answer of an overview.
type Report struct {
	render.Header
	First    string         `json:"first"`
	Last     string         `json:"last"`
	Records  int64          `json:"records"`
	Bytes    int64          `json:"bytes"`
	Rows     uint64         `json:"rows"`
	From     string         `json:"from"` // of the smallest TimeTick
	To       string         `json:"to"`   // of the largest
	Openings int64          `json:"openings"`
	Terms    []groupReport  `json:"terms"`
	Types    []groupReport  `json:"types"`
	VChans   []groupReport  `json:"vchannels"`
	Sizes    []groupReport  `json:"sizes,omitempty"`
	Txns     txnReport      `json:"transactions"`
	TimeTick tickReport     `json:"time_tick"`
	Tail     int            `json:"unconfirmed_tail"`      // messages above the last TimeTick
	Behind   int64          `json:"behind_time_tick"`      // messages a later reader drops
	Defects  *int64         `json:"undecodable,omitempty"` // messages with a defect in their envelope; absent: not counted
	Torn     string         `json:"torn_tail,omitempty"`
	Damage   []cli.BadPlace `json:"damage,omitempty"`

	Protection     *cli.Protection `json:"protection,omitempty"`      // of a live log
	CatalogMissing string          `json:"catalog_missing,omitempty"` // of an archive: why no catalog lies beside it
	Partitioned    string          `json:"partitioned,omitempty"`     // what is wrong with a live topic that has partitions
}

type groupReport struct {
	Name string `json:"name"`
	count
	Last string `json:"last"`
}

type txnReport struct {
	Begun      int64 `json:"begun"`
	Committed  int64 `json:"committed"`
	RolledBack int64 `json:"rolled_back"`
	Open       int   `json:"open"` // neither committed nor rolled back: open, expired or failed
}

type tickReport struct {
	Persisted int64  `json:"persisted"`
	LastID    string `json:"last_id"`
	Last      uint64 `json:"last,string"`
	LastTime  string `json:"last_time"`
}

func inspectOverview(ctx context.Context, f *cli.Factory, o *options, s source.Source, filter *cli.Filter) error {
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return err
	}
	t, bad, err := o.count(ctx, f, s, rng, filter)
	if err != nil {
		return err
	}
	r := t.report(f, cli.DescribeWAL(s), bad)
	r.Protection, r.CatalogMissing = cli.ProtectionOf(s), cli.CatalogMissing(s)
	r.Partitioned = source.Partitioned(s)
	if soon := f.Soon(ctx, s, o.wal, o.catalog, t.last); len(soon) > 0 {
		r.Findings = soon
	}
	if err := writeOverview(f, o, &r); err != nil {
		return err
	}
	return errors.Join(bad.Err(), o.failOn.Check(r.Findings))
}

// wants is what the answer shows.
func (o *options) wants() wants {
	by := o.statsBy()
	has := func(word string) bool { return by == nil || slices.Contains(by, word) }
	return wants{types: has("type"), vchannels: has("vchannel"), sizes: has("size"), terms: has("term"), progress: by == nil}
}

// count reads a range once and counts.
func (o *options) count(ctx context.Context, f *cli.Factory, s source.Source, rng source.Range, filter *cli.Filter) (*tally, *cli.Damage, error) {
	show, done := f.Progress("inspect")
	defer done()
	want := o.wants()
	r, whole, err := openFor(ctx, s, rng, want, filter)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	t, bad := newTally(filter, want), &cli.Damage{Factory: f}
	t.whole = whole
	for {
		c, err := r.NextColumns(ctx)
		if err == nil {
			t.add(c)
			show(t.all.Messages, t.all.Bytes, -1)
			continue
		}
		more, fatal := bad.See(err)
		if fatal != nil {
			return nil, nil, fatal
		}
		if !more {
			return t, bad, nil
		}
	}
}

func (t *tally) report(f *cli.Factory, wal render.WAL, bad *cli.Damage) Report {
	r := Report{
		Header: f.Header("inspect", wal, nil),
		First:  t.first.String(), Last: t.last.String(),
		Records: t.all.Messages, Bytes: t.all.Bytes, Rows: t.all.Rows,
		From: render.RFC3339(render.TickTime(t.firstTick)), To: render.RFC3339(render.TickTime(t.all.LastTick)),
		Openings: t.openings, Tail: t.tail.Len(), Behind: t.behind,
		Txns: txnReport{t.begun, t.committed, t.ended, len(t.open)},
		TimeTick: tickReport{t.timeTicks, t.lastPersistedID.String(), t.lastPersisted,
			render.RFC3339(render.TickTime(t.lastPersisted))},
		Torn: bad.Torn, Damage: bad.Places,
	}
	if r.WAL.Backend == "" && t.all.Messages > 0 {
		r.WAL.Backend = t.first.Backend.String()
	}
	if t.whole && t.progress {
		r.Defects = &t.defects
	}
	for _, v := range t.names {
		if r.WAL.PChannel == "" && v != "" {
			r.WAL.PChannel = message.PChannelOf(v)
		}
	}
	for typ := range t.types {
		if t.types[typ].Messages > 0 {
			r.Types = append(r.Types, named(message.Type(typ).String(), &t.types[typ]))
		}
	}
	for typ, c := range t.oddTypes {
		r.Types = append(r.Types, named(typ.String(), c))
	}
	slices.SortFunc(r.Types, func(a, b groupReport) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Name, b.Name))
	})
	for i := range t.byVChannel {
		if t.byVChannel[i].Messages > 0 {
			r.VChans = append(r.VChans, named(t.names[i], &t.byVChannel[i]))
		}
	}
	slices.SortFunc(r.VChans, func(a, b groupReport) int { return cmp.Compare(a.Name, b.Name) })
	terms := []int64{}
	for term := range t.terms {
		terms = append(terms, term)
	}
	slices.Sort(terms)
	for _, term := range terms {
		r.Terms = append(r.Terms, named(fmt.Sprint(term), t.terms[term]))
	}
	for i := range t.sizes {
		if t.sizes[i].Messages > 0 {
			r.Sizes = append(r.Sizes, named(sizeName(i), &t.sizes[i]))
		}
	}
	return r
}

func named(name string, c *count) groupReport {
	return groupReport{name, *c, render.RFC3339(render.TickTime(c.LastTick))}
}

// sizeName is the range of sizes whose highest bit is bit.
func sizeName(bit int) string {
	if bit == 0 {
		return "0 B"
	}
	return "< " + render.HumanBytes(1<<bit)
}

func writeOverview(f *cli.Factory, o *options, r *Report) error {
	by := o.statsBy()
	if by == nil {
		by = []string{"type"}
		if !o.output.IsTable() || o.output == cli.Wide {
			by = []string{"type", "vchannel", "term"}
		}
	}
	switch {
	case o.output == cli.JSON && o.stats == "":
		return render.JSON(f.Out(), r)
	case o.output == cli.JSON:
		return render.JSON(f.Out(), r.stats(by))
	case o.output == cli.NDJSON:
		for _, word := range by {
			for _, g := range r.groups(word) {
				line := struct {
					By string `json:"by"`
					groupReport
				}{word, g}
				if err := render.NDJSON(f.Out(), line); err != nil {
					return err
				}
			}
		}
		return nil
	case o.output == cli.CSV:
		return allGroups(r, by).CSV(f.Out())
	}
	if o.stats == "" {
		if err := writeHead(f, r); err != nil {
			return err
		}
	}
	for i, word := range by {
		if i > 0 {
			if _, err := fmt.Fprintln(f.Out()); err != nil {
				return err
			}
		}
		if err := groupTable(word, r.groups(word)).Write(f.Out(), f.Style(o.output)); err != nil {
			return err
		}
	}
	if o.stats != "" {
		return nil
	}
	if err := render.Findings(f.Out(), f.Style(o.output), r.Findings); err != nil {
		return err
	}
	return f.Next(r.next(o)...)
}

// next is what to run after an overview that shows something odd.
func (r *Report) next(o *options) []string {
	var out []string
	if p := r.Protection; p != nil && p.CapturedAt == "" && (p.Expired > 0 || p.LostAt != "") || len(r.Findings) > 0 {
		out = append(out, "walctl capture "+source.ShellWord(o.wal)+" --dir ./evidence")
	}
	if r.Behind > 0 || r.Defects != nil && *r.Defects > 0 || len(r.Damage) > 0 {
		out = append(out, "walctl verify "+source.ShellWord(o.wal))
	}
	if h := r.WAL.Held; h != nil && !h.Whole && h.Resume != "" {
		out = append(out, h.Resume)
	}
	return out
}

// StatsReport is the JSON answer of --stats: what was counted and no more.
type StatsReport struct {
	render.Header
	Records int64          `json:"records"`
	Bytes   int64          `json:"bytes"`
	Rows    uint64         `json:"rows"`
	From    string         `json:"from"`
	To      string         `json:"to"`
	Types   []groupReport  `json:"types,omitempty"`
	VChans  []groupReport  `json:"vchannels,omitempty"`
	Sizes   []groupReport  `json:"sizes,omitempty"`
	Terms   []groupReport  `json:"terms,omitempty"`
	Torn    string         `json:"torn_tail,omitempty"`
	Damage  []cli.BadPlace `json:"damage,omitempty"`
}

func (r *Report) stats(by []string) StatsReport {
	s := StatsReport{Header: r.Header, Records: r.Records, Bytes: r.Bytes, Rows: r.Rows, From: r.From, To: r.To, Torn: r.Torn, Damage: r.Damage}
	for _, word := range by {
		switch word {
		case "type":
			s.Types = r.Types
		case "vchannel":
			s.VChans = r.VChans
		case "size":
			s.Sizes = r.Sizes
		case "term":
			s.Terms = r.Terms
		}
	}
	return s
}

func (r *Report) groups(by string) []groupReport {
	switch by {
	case "vchannel":
		return r.VChans
	case "size":
		return r.Sizes
	case "term":
		return r.Terms
	}
	return r.Types
}

// allGroups is every group in one table, for CSV.
func allGroups(r *Report, by []string) *render.Table {
	t := groupTable("name", nil)
	t.Columns = append([]render.Column{{Name: "by"}}, t.Columns...)
	for _, word := range by {
		for _, row := range groupTable(word, r.groups(word)).Rows {
			t.Add(append([]render.Cell{render.Text(word)}, row...)...)
		}
	}
	return t
}

func groupTable(word string, groups []groupReport) *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{
		{Name: word}, {Name: "count", Right: true}, {Name: "bytes", Right: true}, {Name: "rows", Right: true},
		{Name: "last"}, {Name: "last tt", Wide: true, Right: true},
	}}
	for _, g := range groups {
		name := g.Name
		if name == "" {
			name = "(all vchannels)"
		}
		rows := render.Count(int64(g.Rows))
		if g.Rows == 0 {
			rows.Human = ""
		}
		t.Add(render.Text(name), render.Count(g.Messages), render.Bytes(g.Bytes), rows, render.Tick(g.LastTick), render.Number(g.LastTick))
	}
	return t
}

// writeHead prints the lines above the table: where, when, who, and what is odd.
func writeHead(f *cli.Factory, r *Report) error {
	name := cmp.Or(r.WAL.PChannel, r.WAL.Location)
	lines := []string{fmt.Sprintf("%s · %s · %s", render.Clean(name), cmp.Or(r.WAL.Kind, "log"), cmp.Or(r.WAL.Backend, "empty"))}
	if r.Records == 0 {
		lines = append(lines, "no records")
	} else {
		from, _ := time.Parse(time.RFC3339, r.From)
		to, _ := time.Parse(time.RFC3339, r.To)
		lines = append(lines,
			fmt.Sprintf("%s … %s · %s · %s", r.First, r.Last, render.HumanSpan(from, to), termSpan(r)),
			fmt.Sprintf("%s, %s · %s · unconfirmed tail %s", render.Plural(int(r.Records), "record"),
				render.HumanBytes(r.Bytes), render.Plural(int(r.Openings), "opening"), render.Thousands(int64(r.Tail))))
	}
	if h := r.WAL.Held; h != nil && h.Words() != "" {
		lines = append(lines, "NOT WHOLE  "+render.Clean(h.Words()))
	}
	if r.CatalogMissing != "" {
		lines = append(lines, render.Clean(r.CatalogMissing))
	}
	if r.Protection != nil {
		lines = append(lines, r.Protection.Line(f.Now()))
	}
	if r.Txns.Begun > 0 {
		lines = append(lines, fmt.Sprintf("transactions %s: %s committed, %s rolled back, %s without an end",
			render.Thousands(r.Txns.Begun), render.Thousands(r.Txns.Committed), render.Thousands(r.Txns.RolledBack), render.Thousands(int64(r.Txns.Open))))
	}
	if r.Behind > 0 {
		lines = append(lines, fmt.Sprintf("%s messages came too late for a TimeTick: no later reader delivers them", render.Thousands(r.Behind)))
	}
	if r.Defects != nil && *r.Defects > 0 {
		lines = append(lines, fmt.Sprintf("%s messages have an undecodable envelope", render.Thousands(*r.Defects)))
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(f.Out(), l); err != nil {
			return err
		}
	}
	return nil
}

func termSpan(r *Report) string {
	switch n := len(r.Terms); n {
	case 0:
		return "no term"
	case 1:
		return "term " + r.Terms[0].Name
	default:
		return "terms " + r.Terms[0].Name + "–" + r.Terms[n-1].Name
	}
}

// pchannelReport is one line of the table of all pchannels.
type pchannelReport struct {
	PChannel string `json:"pchannel"`
	WAL      string `json:"wal,omitempty"` // as it was named, where several were
	First    string `json:"first"`
	Last     string `json:"last"`
	Records  int64  `json:"records"` // −1 = not known without reading
	LastTick uint64 `json:"last_time_tick,string"`
	LastTime string `json:"last_time"`
	Error    string `json:"error,omitempty"`

	Protection  *cli.Protection `json:"protection,omitempty"`
	Held        *render.Held    `json:"held,omitempty"`
	Partitioned string          `json:"partitioned,omitempty"` // what is wrong with a live topic that has partitions
}

// glanced is one log's line and what was found of it.
type glanced struct {
	line     pchannelReport
	findings []diagnose.Finding
}

func inspectAll(ctx context.Context, f *cli.Factory, o *options, refs []cli.LogRef) error {
	jobs := o.jobs.Of(len(refs))
	each := *o
	each.source = o.source.Gently(jobs)
	each.source.Silent = true // the table tells of retention
	answers := cli.Each(ctx, jobs, refs, func(ctx context.Context, ref cli.LogRef) (*glanced, error) {
		return glance(ctx, f, &each, ref)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	reports, findings, failed := []pchannelReport{}, []diagnose.Finding{}, []error{}
	for _, a := range answers {
		findings = append(findings, a.Report.findings...)
		if a.Err != nil {
			a.Report.line.Error = a.Err.Error()
			failed = append(failed, fmt.Errorf("%w: %s: %w", cli.ErrPartial, a.Report.line.PChannel, a.Err))
		}
		reports = append(reports, a.Report.line)
	}
	return errors.Join(writeAll(f, o, reports, findings), errors.Join(failed...), o.failOn.Check(findings))
}

// note is what a person should know of a pchannel: why it could not be read, or
// when its oldest records go.
func (r *pchannelReport) note(now time.Time) string {
	switch p := r.Protection; {
	case r.Error != "":
		return r.Error
	case r.Held != nil && r.Held.Words() != "":
		return r.Held.Words()
	case r.Partitioned != "":
		return r.Partitioned
	case p == nil:
		return ""
	case !p.AdminOpen:
		return "retention unknown (admin port closed)"
	case p.Expired > 0:
		if p.Expired == 1 {
			return "1 ledger outlived its retention"
		}
		return fmt.Sprintf("%d ledgers outlived their retention", p.Expired)
	case p.LostAt != "":
		at, err := time.Parse(time.RFC3339, p.LostAt)
		if err != nil {
			return ""
		}
		return "oldest expires in " + render.HumanDuration(at.Sub(now))
	}
	return ""
}

// glance reads the two ends of a log. There is a line of what was seen of it also
// where that is not all.
func glance(ctx context.Context, f *cli.Factory, o *options, ref cli.LogRef) (*glanced, error) {
	g := &glanced{line: pchannelReport{PChannel: cmp.Or(ref.Log, ref.WAL), Records: -1}}
	r := &g.line
	if len(o.wals) > 1 {
		r.WAL = ref.String()
	}
	s, err := f.OpenWAL(ctx, ref.WAL, ref.Flags(o.source))
	if err != nil {
		return g, err
	}
	defer s.Close()
	if len(o.wals) > 1 {
		r.PChannel = cmp.Or(s.Describe().PChannel, ref.Log, ref.WAL)
	}
	r.Protection, r.Held = cli.ProtectionOf(s), cli.HeldOf(s)
	r.Partitioned = source.Partitioned(s)
	b, err := s.Bounds(ctx)
	if err != nil {
		return g, err
	}
	g.findings = f.Soon(ctx, s, ref.WAL, o.catalog, b.Last)
	if b.Empty {
		return g, nil
	}
	r.First, r.Last, r.Records = b.First.String(), b.Last.String(), b.Records
	end := source.Bound{Kind: source.AtID, ID: b.Last}
	rd, err := s.Open(ctx, source.Range{From: end, To: end})
	if err != nil {
		return g, err
	}
	defer rd.Close()
	m, err := rd.Next(ctx)
	if err != nil {
		return g, err
	}
	r.LastTick, r.LastTime = m.TimeTick, render.RFC3339(render.TickTime(m.TimeTick))
	return g, nil
}

// PChannelsReport is the JSON answer of inspect without a log.
type PChannelsReport struct {
	render.Header
	PChannels []pchannelReport `json:"pchannels"`
}

func writeAll(f *cli.Factory, o *options, reports []pchannelReport, findings []diagnose.Finding) error {
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), PChannelsReport{f.Header("inspect", render.WAL{}, findings), reports})
	case cli.NDJSON:
		return render.Lines(f.Out(), reports)
	}
	t := render.Table{Columns: []render.Column{{Name: "pchannel"}, {Name: "first"}, {Name: "last"}, {Name: "last written"},
		{Name: "records", Right: true}, {Name: "note"}, {Name: "last tt", Wide: true, Right: true}}}
	logs := map[string]int{}
	for _, r := range reports {
		logs[r.PChannel]++
	}
	for _, r := range reports {
		name := r.PChannel
		if r.WAL != "" && logs[name] > 1 {
			name = r.WAL
		}
		records := render.Count(r.Records)
		if r.Records < 0 {
			records = render.Text("?")
		}
		t.Add(render.Text(name), render.Text(r.First), render.Text(r.Last), render.Tick(r.LastTick), records,
			render.Text(r.note(f.Now())), render.Number(r.LastTick))
	}
	if o.output == cli.CSV {
		return t.CSV(f.Out())
	}
	if err := t.Write(f.Out(), f.Style(o.output)); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), findings); err != nil {
		return err
	}
	next := []string{}
	for _, x := range findings {
		if len(next) < 3 {
			next = append(next, x.Next)
		}
	}
	return f.Next(next...)
}
