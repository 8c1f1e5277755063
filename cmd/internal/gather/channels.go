package gather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/safefile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Gathered is one WAL's share of what the channel checks look at, with log and
// catalog still open.
type Gathered struct {
	Src         source.Source
	Cat         catalog.Catalog
	PChannel    string
	In          diagnose.ChannelInput
	Collections map[int64]*catalog.Collection
	Cluster     *catalog.Cluster
	WALs        map[string]catalog.Metadata // of every pchannel that has keys
	Unknown     []string
	Short       error // the log is a copy that does not hold its end
}

// Close closes log and catalog.
func (g *Gathered) Close() {
	_ = g.Cat.Close() // only read
	_ = g.Src.Close()
}

// Channels reads one log's columns and its catalog.
func Channels(ctx context.Context, f *cli.Factory, o *ChannelFlags, wal string, live *Live, bad *cli.Damage, show source.Progress) (_ *Gathered, err error) {
	g := &Gathered{}
	if g.Src, err = f.OpenWAL(ctx, wal, o.Source); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.Src.Close()
			if g.Cat != nil {
				_ = g.Cat.Close()
			}
		}
	}()
	if g.Cat, err = f.OpenCatalog(ctx, o.Catalog, g.Src, false); err != nil {
		if errors.Is(err, cli.ErrNoCatalog) {
			err = cli.Usagef("channels holds the log against its catalog: %w", err)
		}
		return nil, err
	}
	if g.PChannel, err = cli.PChannelIn(ctx, g.Src, g.Cat); err != nil {
		return nil, err
	}
	g.In = diagnose.ChannelInput{PChannels: []string{g.PChannel}, Frozen: o.Frozen, WAL: repairTarget(wal, o), Live: live.wals, LiveKnown: live.known, Symptoms: live.symptoms}
	if err = g.readCatalog(ctx); err != nil {
		return nil, err
	}
	g.archivedMetrics()
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(g.Src, o.Catalog))
	if err != nil {
		return nil, err
	}
	rng.Columns, g.Short = diagnose.ChannelColumns, cli.NotWhole(g.Src, rng)
	scan, err := g.scanOf(ctx, o, rng, show)
	if err != nil {
		return nil, err
	}
	r, err := source.OpenColumns(ctx, g.Src, rng)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l, err := diagnose.ScanChannels(ctx, &cli.Watched{ColumnReader: r, Damage: bad}, scan)
	if err != nil {
		return nil, err
	}
	g.In.Logs = map[string]*diagnose.ChannelLog{g.PChannel: l}
	if p, own := catalog.LocalReplicate(g.WALs[g.PChannel]); l.Local && !own {
		g.In.Catalog = append(g.In.Catalog, p)
	}
	return g, nil
}

// repairTarget is the WAL and catalog as typed in a shell, for the next command.
func repairTarget(wal string, o *ChannelFlags) string {
	wal = cli.SpellWord(wal)
	if o.Source.Log != "" {
		wal += " --log " + cli.SpellWord(o.Source.Log)
	}
	if o.Source.PChannel != "" {
		wal += " --pchannel " + cli.SpellWord(o.Source.PChannel)
	}
	if o.Catalog.Spec != "" {
		wal += " --catalog " + cli.SpellWord(o.Catalog.Spec)
	}
	return wal
}

// asOf is the moment an archive's own catalog was captured, as a TimeTick; 0 for
// any other catalog.
func (g *Gathered) asOf(o *ChannelFlags) uint64 {
	e, ok := source.EvidenceOf(g.Src, source.EvidenceCatalog)
	if !ok || o.Catalog.Spec != "" {
		return 0
	}
	return message.LastTSOAt(e.CapturedAt) + 1
}

// readCatalog fills everything the checks take from the metadata.
func (g *Gathered) readCatalog(ctx context.Context) (err error) {
	if g.Cluster, err = catalog.LoadCluster(ctx, g.Cat); err != nil {
		return err
	}
	if g.Collections, _, err = catalog.Collections(ctx, g.Cat); err != nil {
		return err
	}
	kvs, _, err := g.Cat.Range(ctx, strings.TrimSuffix(catalog.WALPrefix(""), "/"))
	if err != nil {
		return err
	}
	by := map[string][]catalog.KV{}
	for _, kv := range kvs {
		if p := catalog.ParseKey(kv.Key).PChannel; p != "" {
			by[p] = append(by[p], kv)
		}
	}
	g.WALs = map[string]catalog.Metadata{g.PChannel: {PChannel: g.PChannel}}
	g.In.OrphanSchemas, g.In.Assigned = map[string][]string{}, map[string]diagnose.AssignedChannel{}
	for p, list := range by {
		g.WALs[p] = catalog.FromKVs(p, list)
		g.registrations(p)
	}
	slices.SortFunc(g.In.Registered, func(a, b diagnose.RegisteredChannel) int {
		return strings.Compare(a.PChannel+"/"+a.VChannel, b.PChannel+"/"+b.VChannel)
	})
	for p := range g.WALs {
		g.In.Assigned[p] = g.assigned(p)
	}
	g.listed()
	g.In.Flushed = map[string]diagnose.FlushedChannel{}
	for v, m := range g.Cluster.ChannelCheckpoints {
		g.In.Flushed[v] = catalog.FlushPositionOf(m, g.Src.Describe().Backend)
	}
	g.In.Pending = g.Cluster.PendingChannels()
	for _, c := range g.Cluster.PendingCopies() {
		if message.PChannelOf(c.VChannel) == g.PChannel {
			g.In.Copies = append(g.In.Copies, diagnose.WaitedCopy{BroadcastCopy: diagnose.BroadcastCopy{Broadcast: c.Broadcast, VChannel: c.VChannel}, Type: c.Type.String(), Key: c.Key})
		}
	}
	g.In.Catalog = catalog.CrossCheck(g.Cluster, g.Collections, g.WALs)
	return nil
}

// scanOf says what the log is measured against.
func (g *Gathered) scanOf(ctx context.Context, o *ChannelFlags, rng source.Range, show source.Progress) (diagnose.ChannelScan, error) {
	scan := diagnose.ChannelScan{PChannel: g.PChannel, Checkpoints: map[string]uint64{}, ToEnd: rng.To.Kind == source.Unbounded && rng.Limit == 0,
		AsOf: g.asOf(o), Broadcasts: map[uint64]bool{}, Progress: show}
	scan.WholeRead = scan.ToEnd && rng.From.Kind == source.Unbounded
	for v, c := range g.In.Flushed {
		if !c.Dropped {
			scan.Checkpoints[v] = c.TimeTick
			scan.Positions = append(scan.Positions, c.ID)
		}
	}
	for _, c := range g.In.Copies {
		scan.Broadcasts[c.Broadcast] = true
	}
	if r := g.WALs[g.PChannel].Checkpoint.GetReplicateCheckpoint(); r.GetMessageId() != nil {
		id, _, err := message.ParseRaw(source.StoredBackend(r.GetMessageId().GetWALName(), g.Src), r.GetMessageId().GetId())
		if err == nil {
			scan.Foreign = &diagnose.ForeignPosition{ID: id, TimeTick: r.GetTimeTick()}
		}
	}
	extent, err := source.ExtentOf(ctx, g.Src)
	if err == nil && !extent.Whole {
		g.Unknown = append(g.Unknown, "positions and broadcasts of "+g.PChannel+" beyond what is held of its log ("+extent.Detail+")")
		scan.ToEnd, scan.WholeRead = false, false
		return scan, nil
	}
	if err == nil {
		var b source.Bounds
		if b, err = g.Src.Bounds(ctx); err == nil {
			scan.Bounds = &b
		}
	}
	if ctx.Err() != nil {
		return scan, context.Cause(ctx)
	}
	return scan, nil // a stream cannot be asked for its ends: reading it whole tells them
}

func (g *Gathered) registrations(p string) {
	md := g.WALs[p]
	for name, v := range md.VChannels {
		r := diagnose.RegisteredChannel{PChannel: p, VChannel: name, Collection: v.GetCollectionInfo().GetCollectionId(), TimeTick: v.GetCheckpointTimeTick(),
			Dropped: v.GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED, Schemas: len(v.GetCollectionInfo().GetSchemas())}
		if known, rootcoord := md.SchemasOf(name, g.Collections); r.Schemas == 0 {
			r.Inline = len(known) > 0 && !rootcoord
		}
		for _, s := range md.Segments {
			if s.GetVchannel() == name && s.GetState() == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING {
				r.Growing++
				r.Rows += s.GetStat().GetModifiedRows()
			}
		}
		g.In.Registered = append(g.In.Registered, r)
	}
	for _, pr := range md.Problems {
		v := catalog.ParseKey(pr.Key).VChannel
		if pr.Code == catalog.CodeOrphanSchema && !slices.Contains(g.In.OrphanSchemas[p], v) {
			g.In.OrphanSchemas[p] = append(g.In.OrphanSchemas[p], v)
		}
	}
}

// assignedBy is what the coordinator's key says of a pchannel.
func assignedBy(m *streamingpb.PChannelMeta) diagnose.AssignedChannel {
	out := diagnose.AssignedChannel{Term: m.GetChannel().GetTerm(), Assigned: m.GetState() == streamingpb.PChannelMetaState_PCHANNEL_META_STATE_ASSIGNED}
	if n := m.GetNode(); n != nil {
		out.Node = strings.TrimSuffix(fmt.Sprintf("%d %s", n.GetServerId(), n.GetAddress()), " ")
	}
	for _, h := range m.GetHistories() {
		out.Histories = append(out.Histories, h.GetTerm())
	}
	return out
}

func (g *Gathered) assigned(p string) diagnose.AssignedChannel {
	var out diagnose.AssignedChannel
	if m := g.Cluster.PChannels[p]; m != nil {
		out = assignedBy(m)
	}
	if cp := g.WALs[p].Checkpoint; cp != nil {
		out.Opened, out.Tick = true, cp.GetTimeTick()
		id, _, err := message.ParseRaw(source.StoredBackend(cp.GetMessageId().GetWALName(), g.Src), cp.GetMessageId().GetId())
		if err == nil {
			out.ID = id
		}
	}
	return out
}

// listed takes from RootCoord which vchannels there are to be.
func (g *Gathered) listed() {
	g.In.Listed, g.In.ListedKnown = map[string]diagnose.ListedChannel{}, len(g.Collections) > 0
	for id, c := range g.Collections {
		state := strings.ToLower(strings.TrimPrefix(c.Info.GetState().String(), "Collection"))
		for _, v := range c.Info.GetVirtualChannelNames() {
			g.In.Listed[v] = diagnose.ListedChannel{Collection: id, Name: c.Name(), State: state, Schema: len(c.Schema.GetFields()) > 0,
				Old: c.CreatedBy(g.In.Assigned[message.PChannelOf(v)].Tick)}
		}
	}
	if !g.In.ListedKnown {
		g.Unknown = append(g.Unknown, "RootCoord (the catalog holds none of its collections)")
	}
}

// Live is what live processes say of themselves.
type Live struct {
	known    bool
	wals     []diagnose.LiveWAL
	symptoms []diagnose.Reduplicate
}

// LiveEvidence asks the metrics endpoints and reads the Milvus logs named. What
// does not answer is named, not fatal.
func LiveEvidence(ctx context.Context, f *cli.Factory, o *ChannelFlags) (*Live, []string) {
	out, unknown := &Live{}, []string{}
	settings, err := f.Config()
	if err != nil {
		return out, []string{err.Error()}
	}
	for _, url := range settings.Metrics {
		wals, err := fetchMetrics(ctx, url)
		if err != nil {
			unknown = append(unknown, "metrics ("+err.Error()+")")
			continue
		}
		out.known = true
		out.wals = diagnose.AddLive(out.wals, wals)
	}
	for _, path := range o.logs {
		file, err := os.Open(path)
		if err == nil {
			var found []diagnose.Reduplicate
			found, err = diagnose.ReadReduplicates(filepath.Base(path), file)
			out.symptoms = append(out.symptoms, found...)
			_ = file.Close()
		}
		if err != nil {
			unknown = append(unknown, "logs ("+err.Error()+")")
		}
	}
	return out, unknown
}

func fetchMetrics(ctx context.Context, place string) ([]diagnose.LiveWAL, error) {
	body, err := cli.OpenMetrics(ctx, place)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return diagnose.ReadLiveWALs(body)
}

// archivedMetrics reads the metrics an archive carries, where none were named.
func (g *Gathered) archivedMetrics() {
	with, ok := source.As[source.EvidenceSource](g.Src)
	if ok && !g.In.LiveKnown {
		for _, e := range with.Evidence() {
			if !strings.HasPrefix(e.Name, source.EvidenceMetrics) {
				continue
			}
			file, err := safefile.Open(e.File)
			if err != nil {
				g.Unknown = append(g.Unknown, "metrics ("+err.Error()+")")
				continue
			}
			wals, err := diagnose.ReadLiveWALs(io.Reader(file))
			_ = file.Close()
			if err != nil {
				g.Unknown = append(g.Unknown, "metrics ("+err.Error()+")")
				continue
			}
			g.In.Live, g.In.LiveKnown = diagnose.AddLive(g.In.Live, wals), true
		}
	}
	if !g.In.LiveKnown {
		g.Unknown = append(g.Unknown, "live nodes (no metrics: --metrics URL)")
	}
}

// ChannelFlags say which log and catalog the channel checks look at, and from when on
// a checkpoint is frozen.
type ChannelFlags struct {
	Source  cli.WALFlags
	Catalog cli.CatalogFlags
	place   cli.RangeFlags
	logs    []string
	Frozen  time.Duration
}

// Add defines the flags.
func (o *ChannelFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&o.logs, "logs", nil, "look for the symptom in this Milvus log `FILE`, repeatable")
	p.DurationVar(&o.Frozen, "frozen-after", time.Hour, "a channel checkpoint is frozen when what comes after it has waited this long, in the log's own time")
	o.place.Add(cmd)
	o.Catalog.Add(cmd)
	o.Source.Add(cmd)
	o.Source.Again = true
}
