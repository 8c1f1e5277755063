package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// replayFlags are what every command that replays a log takes.
type replayFlags struct {
	source  cli.WALFlags
	catalog cli.CatalogFlags
	until   string
	cluster string
	// fields holds the inserts of vchannels whose schema dropped a field against it.
	fields bool
	// show takes the progress; nil: a line of its own.
	show source.Progress
	// during, if set, is called with log and catalog still open.
	during func(context.Context, source.Source, catalog.Catalog, *replayed) error
}

func (r *replayFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&r.until, "until", "", "stop at this `PLACE`: an id, @TIME, or tt:TSO, the message with exactly that TimeTick (default: the last TimeTick)")
	p.StringVar(&r.cluster, "cluster", recovery.DefaultClusterPrefix, "the own cluster's `NAME` in a replicate configuration")
	r.catalog.Add(cmd)
	r.source.Add(cmd)
	r.source.Again = true
}

// replayed is a log replayed over its catalog.
type replayed struct {
	wal      render.WAL
	metadata catalog.Metadata
	line     recovery.Line // of version, 0 = unknown
	version  string        // --milvus-version, or what a session tells
	took     time.Duration // the replay
	options  recovery.ReplayOptions
	fields   []diagnose.Finding // inserts whose field a dropped schema had
	short    error              // the log is a copy that does not hold its end
	*recovery.Result
}

// replay opens log and catalog and replays. The caller sets Tail where it shows one.
func (r *replayFlags) replay(ctx context.Context, f *cli.Factory, command, wal string, o recovery.ReplayOptions) (*replayed, error) {
	src, err := f.OpenWAL(ctx, wal, r.source)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	cat, err := f.OpenCatalog(ctx, r.catalog, src, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return nil, cli.Usagef("a replay starts from metadata: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	pchannel, err := cli.PChannelIn(ctx, src, cat)
	if err != nil {
		return nil, err
	}
	out := &replayed{}
	if out.metadata, _, err = cat.Load(ctx, pchannel); err != nil {
		return nil, err
	}
	if r.until != "" {
		if o.Until, err = cli.ParsePlace(ctx, r.until, true, f.EnvWithCatalog(src, r.catalog)); err != nil {
			return nil, err
		}
	}
	settings, err := f.Config()
	if err != nil {
		return nil, err
	}
	if recovery.LineOf(settings.MilvusVersion) == 0 && settings.MilvusVersion != "" {
		return nil, cli.Usagef("--milvus-version %s: the rules of 2.6 and 3.0 are known", settings.MilvusVersion)
	}
	out.version = versionOf(ctx, settings.MilvusVersion, cat)
	if out.line = recovery.LineOf(out.version); out.line == 0 {
		out.version = ""
	}
	if o.Collections, _, err = catalog.Collections(ctx, cat); err != nil {
		return nil, err
	}
	if o.Flushed, err = catalog.ChannelCheckpoints(ctx, cat, pchannel); err != nil {
		return nil, err
	}
	o.Pending = func(ctx context.Context) (map[string]bool, error) { return pendingChannels(ctx, cat) }
	show := r.show
	if show == nil {
		var done func()
		show, done = f.Progress(command)
		defer done()
	}
	o.Progress, o.State.ClusterPrefix, o.State.Milvus = show, r.cluster, out.version
	started := f.Now()
	out.Result, err = recovery.Replay(ctx, src, out.metadata, o)
	out.took, out.options = f.Now().Sub(started), o
	out.wal = cli.DescribeWAL(src)
	out.wal.PChannel = pchannel
	if err == nil && (o.Until.Kind == source.Unbounded || !out.Result.Until.Reached) {
		out.short = cli.NotWhole(src, source.Range{})
	}
	if err == nil && r.fields {
		out.fields, err = out.fieldsGone(ctx, src, wal)
	}
	if err == nil && r.during != nil {
		err = r.during(ctx, src, cat, out)
	}
	return out, err
}

// pendingChannels are the vchannels that broadcasts under way name.
func pendingChannels(ctx context.Context, cat catalog.Catalog) (map[string]bool, error) {
	c, err := catalog.LoadCluster(ctx, cat)
	if err != nil {
		return nil, err
	}
	return c.PendingChannels(), nil
}

// fieldsGone reads the replayed stretch once more where a schema dropped a field:
// rows that still carry it stop nodes that load them.
func (r *replayed) fieldsGone(ctx context.Context, src source.Source, wal string) ([]diagnose.Finding, error) {
	dropped := false
	for _, v := range r.State.Snapshot().VChannels {
		dropped = dropped || catalog.FieldDropped(v.GetCollectionInfo().GetSchemas())
	}
	if held := cli.HeldOf(src); !dropped || r.Coverage.First.IsZero() || held != nil && held.NoPayload {
		return nil, nil
	}
	rd, err := src.Open(ctx, source.Range{From: source.Bound{Kind: source.AtID, ID: r.Coverage.First}, Props: true, Payload: source.PayloadAll})
	if errors.Is(err, source.ErrConsumed) {
		return []diagnose.Finding{diagnose.NotChecked(r.wal.PChannel, recovery.WentBy("the fields of inserts"))}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hold the fields of inserts against their schema: %w", err)
	}
	defer rd.Close()
	w := diagnose.NewFieldWatch(func(vchannel string) ([]catalog.KnownSchema, bool) {
		return r.metadata.SchemasOf(vchannel, r.options.Collections)
	})
	if err := w.Watch(ctx, rd); err != nil {
		return nil, fmt.Errorf("hold the fields of inserts against their schema: %w", err)
	}
	return w.Findings(&diagnose.VerifyOptions{PChannel: r.wal.PChannel, WAL: wal}), nil
}

// stops reports whether an issue stops a node of the version asked about; where
// none was named, of every line.
func (r *replayed) stops(i *recovery.Issue) bool {
	if r.line == 0 {
		return i.Stops == recovery.AllLines
	}
	return i.Stops&r.line != 0
}

// obstacle is what stops a node first, nil where nothing does. Where no version
// is known that is what stops both lines.
func (r *replayed) obstacle() *recovery.Issue {
	if r.line != 0 {
		return r.Issues().FirstObstacle(r.line)
	}
	old, now := r.Issues().FirstObstacle(recovery.Line26), r.Issues().FirstObstacle(recovery.Line30)
	if old == nil || now == nil {
		return nil
	}
	return now
}

// findings tells what the replay met, one finding for each code.
func (r *replayed) findings() []diagnose.Finding {
	var out []diagnose.Finding
	at := map[string]int{}
	list := slices.Concat(r.Issues().List(), r.State.Orphans())
	for i := range list {
		issue := &list[i]
		code := groupOf(issue)
		k, seen := at[code]
		if !seen {
			k = len(out)
			at[code] = k
			out = append(out, diagnose.FoundIssue(issue, r.wal.PChannel, r.stops(issue)))
		}
		out[k].Count++
		out[k].Severity = max(out[k].Severity, issue.Severity(r.stops(issue)))
	}
	for _, c := range r.Issues().Counts() {
		k, seen := at[string(c.Code)]
		if !seen {
			continue
		}
		out[k].Count = max(out[k].Count, c.Messages)
		if c.Rows > 0 {
			out[k].Evidence = append(out[k].Evidence, diagnose.Evidence{Name: "rows", Value: strconv.FormatUint(c.Rows, 10)})
		}
	}
	for _, why := range r.Unchecked {
		out = append(out, diagnose.NotChecked(r.wal.PChannel, why))
	}
	return append(out, r.fields...)
}

// notCheckedLines say what could not be looked at: one line, none where all was.
func notCheckedLines(why []string) []string {
	if len(why) == 0 {
		return nil
	}
	return []string{"NOT CHECKED  " + strings.Join(why, "; ")}
}

// groupOf is what a finding gathers: the issues of one code, but each key that
// stands wrong in the catalog for itself.
func groupOf(i *recovery.Issue) string {
	if i.Code == recovery.CodePositionGone || i.Code == recovery.CodeChannelDropped {
		return string(i.Code) + " " + i.Key
	}
	return string(i.Code)
}

// gone are the findings on positions that cannot be read from.
func (r *replayed) gone() (out []diagnose.Finding) {
	for _, x := range r.findings() {
		if x.Code == string(recovery.CodePositionGone) {
			out = append(out, x)
		}
	}
	return out
}

// readError is the exit code's share of what could not be read, or was not there
// to be read.
func (r *replayed) readError() error {
	var held *recovery.NotHeldError
	for _, g := range r.Coverage.Gaps {
		var corrupt *source.CorruptError
		if errors.As(g.Cause, &corrupt) {
			return fmt.Errorf("the log is not whole, first at %s: %w", g, corrupt)
		}
		if held == nil {
			errors.As(g.Cause, &held)
		}
	}
	if held != nil {
		return fmt.Errorf("%w: %w", held, cli.ErrPartial)
	}
	if n := r.lacksPayloads(); n > 0 {
		return fmt.Errorf("%s: %w", lackingText(n), cli.ErrPartial)
	}
	return r.short
}

// lacksPayloads counts the definitions that this copy of the log has without
// their payloads.
func (r *replayed) lacksPayloads() int64 {
	for _, n := range r.Issues().Counts() {
		if n.Code == recovery.CodePayloadAbsent {
			return n.Messages
		}
	}
	return 0
}

func lackingText(n int64) string {
	return render.Plural(int(n), "definition") + " without payload, not checked; export the log with --data, or capture it with its payloads"
}

// stopReport says where a replay ended and what it read.
type stopReport struct {
	ID       string `json:"id,omitempty"`
	TimeTick uint64 `json:"time_tick,string"`
	Time     string `json:"time,omitempty"`
	Reached  bool   `json:"reached"`
}

type coverageReport struct {
	From       string   `json:"from,omitempty"`
	First      string   `json:"first,omitempty"`
	Last       string   `json:"last,omitempty"`
	Records    int64    `json:"records"`
	Contiguous bool     `json:"contiguous"`
	Gaps       []string `json:"gaps,omitempty"`
	TornTail   bool     `json:"torn_tail,omitempty"`
}

func (r *replayed) stopReport() stopReport {
	u := r.Until
	out := stopReport{TimeTick: r.State.TimeTick(), Reached: u.Reached}
	if !u.ID.IsZero() {
		out.ID = u.ID.String()
	}
	if out.TimeTick > 0 {
		out.Time = message.FormatTSO(out.TimeTick)
	}
	return out
}

func (r *replayed) coverageReport() coverageReport {
	c := r.Coverage
	out := coverageReport{From: idText(c.From), First: idText(c.First), Last: idText(c.Last), Records: c.Records, Contiguous: c.Contiguous(), TornTail: c.TornTail}
	for _, g := range c.Gaps {
		out.Gaps = append(out.Gaps, g.String())
	}
	return out
}

func idText(id message.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
