// Package replay is what the commands share that replay a log over its catalog: the flags,
// the replay, and what is told of it.
package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Flags are what every command that replays a log takes.
type Flags struct {
	Source  cli.WALFlags
	Catalog cli.CatalogFlags
	Until   string
	Cluster string
	// fields holds the inserts of vchannels whose schema dropped a field against it.
	Fields bool
	// show takes the progress; nil: a line of its own.
	Show source.Progress
	// during, if set, is called with log and catalog still open.
	During func(context.Context, source.Source, catalog.Catalog, *Replayed) error
}

// Add defines the flags.
func (r *Flags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVar(&r.Until, "until", "", "stop at this `PLACE`: an id, @TIME, or tt:TSO, the message with exactly that TimeTick (default: the last TimeTick)")
	p.StringVar(&r.Cluster, "cluster", recovery.DefaultClusterPrefix, "the own cluster's `NAME` in a replicate configuration")
	r.Catalog.Add(cmd)
	r.Source.Add(cmd)
	r.Source.Again = true
}

// Replayed is a log replayed over its catalog.
type Replayed struct {
	WAL        render.WAL
	Metadata   catalog.Metadata
	Line       recovery.Line // of version, 0 = unknown
	Version    string        // --milvus-version, or what a session tells
	Took       time.Duration // the replay
	Options    recovery.ReplayOptions
	FieldsGone []diagnose.Finding // inserts whose field a dropped schema had
	Unserved   []diagnose.Finding // the log's vchannels, where no node opens it
	short      error              // the log is a copy that does not hold its end
	*recovery.Result
}

// Replay opens log and catalog and replays. The caller sets Tail where it shows one.
func (r *Flags) Replay(ctx context.Context, f *cli.Factory, command, wal string, o recovery.ReplayOptions) (*Replayed, error) {
	src, err := f.OpenWAL(ctx, wal, r.Source)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	cat, err := f.OpenCatalog(ctx, r.Catalog, src, false)
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
	out := &Replayed{}
	if out.Metadata, _, err = cat.Load(ctx, pchannel); err != nil {
		return nil, err
	}
	if r.Until != "" {
		if o.Until, err = cli.ParsePlace(ctx, r.Until, true, f.EnvWithCatalog(src, r.Catalog)); err != nil {
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
	out.Version = VersionOf(ctx, settings.MilvusVersion, cat)
	if out.Line = recovery.LineOf(out.Version); out.Line == 0 {
		out.Version = ""
	}
	if o.Collections, _, err = catalog.Collections(ctx, cat); err != nil {
		return nil, err
	}
	if out.Unserved, err = unserved(ctx, cat, o.Collections, pchannel); err != nil {
		return nil, err
	}
	if o.Flushed, err = catalog.ChannelCheckpoints(ctx, cat, pchannel); err != nil {
		return nil, err
	}
	o.Pending = func(ctx context.Context) (map[string]bool, error) { return pendingChannels(ctx, cat) }
	show := r.Show
	if show == nil {
		var done func()
		show, done = f.Progress(command)
		defer done()
	}
	o.Progress, o.State.ClusterPrefix, o.State.Milvus = show, r.Cluster, out.Version
	started := f.Now()
	out.Result, err = recovery.Replay(ctx, src, out.Metadata, o)
	out.Took, out.Options = f.Now().Sub(started), o
	out.WAL = cli.DescribeWAL(src)
	out.WAL.PChannel = pchannel
	if err == nil && (o.Until.Kind == source.Unbounded || !out.Result.Until.Reached) {
		out.short = cli.NotWhole(src, source.Range{})
	}
	if err == nil && r.Fields {
		out.FieldsGone, err = out.fieldsGone(ctx, src, wal)
	}
	if err == nil && r.During != nil {
		err = r.During(ctx, src, cat, out)
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
func (r *Replayed) fieldsGone(ctx context.Context, src source.Source, wal string) ([]diagnose.Finding, error) {
	dropped := false
	for _, v := range r.State.Snapshot().VChannels {
		dropped = dropped || catalog.FieldDropped(v.GetCollectionInfo().GetSchemas())
	}
	if held := cli.HeldOf(src); !dropped || r.Coverage.First.IsZero() || held != nil && held.NoPayload {
		return nil, nil
	}
	rd, err := src.Open(ctx, source.Range{From: source.Bound{Kind: source.AtID, ID: r.Coverage.First}, Props: true, Payload: source.PayloadAll})
	if errors.Is(err, source.ErrConsumed) {
		return []diagnose.Finding{diagnose.NotChecked(r.WAL.PChannel, recovery.WentBy("the fields of inserts"))}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hold the fields of inserts against their schema: %w", err)
	}
	defer rd.Close()
	w := diagnose.NewFieldWatch(func(vchannel string) ([]catalog.KnownSchema, bool) {
		return r.Metadata.SchemasOf(vchannel, r.Options.Collections)
	})
	if err := w.Watch(ctx, rd); err != nil {
		return nil, fmt.Errorf("hold the fields of inserts against their schema: %w", err)
	}
	return w.Findings(&diagnose.VerifyOptions{PChannel: r.WAL.PChannel, WAL: wal}), nil
}

// Obstacle is what stops a node of the version asked about first, nil where nothing
// does.
func (r *Replayed) Obstacle() *recovery.Issue { return r.Result.Obstacle(r.Line) }

// Findings tells what the replay met, one finding for each code.
func (r *Replayed) Findings() []diagnose.Finding {
	return slices.Concat(diagnose.ReplayFindings(r.Result, r.Line, r.WAL.PChannel), r.Unserved, r.FieldsGone)
}

// unserved tells of vchannels whose log no node opens.
func unserved(ctx context.Context, cat catalog.Catalog, collections map[int64]*catalog.Collection, pchannel string) ([]diagnose.Finding, error) {
	list, err := catalog.Unserved(ctx, cat, collections, pchannel)
	if err != nil {
		return nil, err
	}
	out := diagnose.CatalogFindings(list)
	for i := range out {
		out[i].Count = 1
	}
	return out, nil
}

// Gone are the findings on positions that cannot be read from.
func (r *Replayed) Gone() (out []diagnose.Finding) {
	for _, x := range r.Findings() {
		if x.Code == string(recovery.CodePositionGone) {
			out = append(out, x)
		}
	}
	return out
}

// ReadError is the exit code's share of what could not be read, or was not there
// to be read.
func (r *Replayed) ReadError() error {
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
	if n := r.LacksPayloads(); n > 0 {
		return fmt.Errorf("%s: %w", Lacking(n), cli.ErrPartial)
	}
	return r.short
}

// Lacking says that n definitions were not checked for want of their payloads.
func Lacking(n int64) string {
	return render.Plural(int(n), "definition") + " without payload, not checked; export the log with --data, or capture it with its payloads"
}

// Stop says where a replay ended and what it read.
type Stop struct {
	ID       string `json:"id,omitempty"`
	TimeTick uint64 `json:"time_tick,string"`
	Time     string `json:"time,omitempty"`
	Reached  bool   `json:"reached"`
}

// Coverage is what a replay read, as answers have it.
type Coverage struct {
	From       string   `json:"from,omitempty"`
	First      string   `json:"first,omitempty"`
	Last       string   `json:"last,omitempty"`
	Records    int64    `json:"records"`
	Contiguous bool     `json:"contiguous"`
	Gaps       []string `json:"gaps,omitempty"`
	TornTail   bool     `json:"torn_tail,omitempty"`
}

// StopReport says where the replay ended.
func (r *Replayed) StopReport() Stop {
	u := r.Until
	out := Stop{TimeTick: r.State.TimeTick(), Reached: u.Reached}
	if !u.ID.IsZero() {
		out.ID = u.ID.String()
	}
	if out.TimeTick > 0 {
		out.Time = message.FormatTSO(out.TimeTick)
	}
	return out
}

// CoverageReport says what the replay read.
func (r *Replayed) CoverageReport() Coverage {
	c := r.Coverage
	out := Coverage{From: c.From.Text(), First: c.First.Text(), Last: c.Last.Text(), Records: c.Records, Contiguous: c.Contiguous(), TornTail: c.TornTail}
	for _, g := range c.Gaps {
		out.Gaps = append(out.Gaps, g.String())
	}
	return out
}

// VersionOf is the version told, or else that of a session; empty where nobody tells.
func VersionOf(ctx context.Context, told string, cat catalog.Catalog) string {
	if told != "" {
		return told
	}
	sessions, err := catalog.Sessions(ctx, cat)
	if err != nil {
		return "" // then apply asks for the version
	}
	for _, s := range sessions {
		if s.Version != "" {
			told = s.Version
		}
	}
	return told
}
