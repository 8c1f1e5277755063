package cmd

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

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/safefile"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// gathered is one WAL's share of what the channel checks look at, with log and
// catalog still open.
type gathered struct {
	src         source.Source
	cat         catalog.Catalog
	pchannel    string
	in          diagnose.ChannelInput
	collections map[int64]*catalog.Collection
	cluster     *catalog.Cluster
	wals        map[string]catalog.Metadata // of every pchannel that has keys
	unknown     []string
	short       error // the log is a copy that does not hold its end
}

func (g *gathered) close() {
	_ = g.cat.Close() // only read
	_ = g.src.Close()
}

func (g *gathered) read() walChannels {
	l, a := g.in.Logs[g.pchannel], g.in.Assigned[g.pchannel]
	return walChannels{PChannel: g.pchannel, Records: l.Records, First: idText(l.First), Last: idText(l.Last), LastTick: l.LastTick, Term: a.Term, Node: a.Node}
}

// gatherChannels reads one log's columns and its catalog.
func gatherChannels(ctx context.Context, f *cli.Factory, o *channelsOptions, wal string, live *liveSeen, bad *damage, show source.Progress) (_ *gathered, err error) {
	g := &gathered{}
	if g.src, err = f.OpenWAL(ctx, wal, o.source); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.src.Close()
			if g.cat != nil {
				_ = g.cat.Close()
			}
		}
	}()
	if g.cat, err = f.OpenCatalog(ctx, o.catalog, g.src, false); err != nil {
		if errors.Is(err, cli.ErrNoCatalog) {
			err = cli.Usagef("channels holds the log against its catalog: %w", err)
		}
		return nil, err
	}
	if g.pchannel, err = cli.PChannelIn(ctx, g.src, g.cat); err != nil {
		return nil, err
	}
	g.in = diagnose.ChannelInput{PChannels: []string{g.pchannel}, Frozen: o.frozen, WAL: repairTarget(wal, o), Live: live.wals, LiveKnown: live.known, Symptoms: live.symptoms}
	if err = g.readCatalog(ctx); err != nil {
		return nil, err
	}
	g.archivedMetrics()
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(g.src, o.catalog))
	if err != nil {
		return nil, err
	}
	rng.Columns, g.short = diagnose.ChannelColumns, cli.NotWhole(g.src, rng)
	scan, err := g.scanOf(ctx, o, rng, show)
	if err != nil {
		return nil, err
	}
	r, err := source.OpenColumns(ctx, g.src, rng)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l, err := diagnose.ScanChannels(ctx, &watched{r, bad}, scan)
	if err != nil {
		return nil, err
	}
	g.in.Logs = map[string]*diagnose.ChannelLog{g.pchannel: l}
	if p, own := catalog.LocalReplicate(g.wals[g.pchannel]); l.Local && !own {
		g.in.Catalog = append(g.in.Catalog, p)
	}
	return g, nil
}

// repairTarget is the WAL and catalog as typed in a shell, for the next command.
func repairTarget(wal string, o *channelsOptions) string {
	wal = cli.SpellWord(wal)
	if o.source.Log != "" {
		wal += " --log " + cli.SpellWord(o.source.Log)
	}
	if o.source.PChannel != "" {
		wal += " --pchannel " + cli.SpellWord(o.source.PChannel)
	}
	if o.catalog.Spec != "" {
		wal += " --catalog " + cli.SpellWord(o.catalog.Spec)
	}
	return wal
}

// asOf is the moment an archive's own catalog was captured, as a TimeTick; 0 for
// any other catalog.
func (g *gathered) asOf(o *channelsOptions) uint64 {
	e, ok := source.EvidenceOf(g.src, source.EvidenceCatalog)
	if !ok || o.catalog.Spec != "" {
		return 0
	}
	return message.LastTSOAt(e.CapturedAt) + 1
}

// readCatalog fills everything the checks take from the metadata.
func (g *gathered) readCatalog(ctx context.Context) (err error) {
	if g.cluster, err = catalog.LoadCluster(ctx, g.cat); err != nil {
		return err
	}
	if g.collections, _, err = catalog.Collections(ctx, g.cat); err != nil {
		return err
	}
	kvs, _, err := g.cat.Range(ctx, strings.TrimSuffix(catalog.WALPrefix(""), "/"))
	if err != nil {
		return err
	}
	by := map[string][]catalog.KV{}
	for _, kv := range kvs {
		if p := catalog.ParseKey(kv.Key).PChannel; p != "" {
			by[p] = append(by[p], kv)
		}
	}
	g.wals = map[string]catalog.Metadata{g.pchannel: {PChannel: g.pchannel}}
	g.in.OrphanSchemas, g.in.Assigned = map[string][]string{}, map[string]diagnose.AssignedChannel{}
	for p, list := range by {
		g.wals[p] = catalog.FromKVs(p, list)
		g.registrations(p)
	}
	slices.SortFunc(g.in.Registered, func(a, b diagnose.RegisteredChannel) int {
		return strings.Compare(a.PChannel+"/"+a.VChannel, b.PChannel+"/"+b.VChannel)
	})
	for p := range g.wals {
		g.in.Assigned[p] = g.assigned(p)
	}
	g.listed()
	g.in.Flushed = map[string]diagnose.FlushedChannel{}
	for v, m := range g.cluster.ChannelCheckpoints {
		g.in.Flushed[v] = catalog.FlushPositionOf(m, g.src.Describe().Backend)
	}
	g.in.Pending = g.cluster.PendingChannels()
	for _, c := range g.cluster.PendingCopies() {
		if message.PChannelOf(c.VChannel) == g.pchannel {
			g.in.Copies = append(g.in.Copies, diagnose.WaitedCopy{BroadcastCopy: diagnose.BroadcastCopy{Broadcast: c.Broadcast, VChannel: c.VChannel}, Type: c.Type.String(), Key: c.Key})
		}
	}
	g.in.Catalog = catalog.CrossCheck(g.cluster, g.collections, g.wals)
	return nil
}

// scanOf says what the log is measured against.
func (g *gathered) scanOf(ctx context.Context, o *channelsOptions, rng source.Range, show source.Progress) (diagnose.ChannelScan, error) {
	scan := diagnose.ChannelScan{PChannel: g.pchannel, Checkpoints: map[string]uint64{}, ToEnd: rng.To.Kind == source.Unbounded && rng.Limit == 0,
		AsOf: g.asOf(o), Broadcasts: map[uint64]bool{}, Progress: show}
	scan.WholeRead = scan.ToEnd && rng.From.Kind == source.Unbounded
	for v, c := range g.in.Flushed {
		if !c.Dropped {
			scan.Checkpoints[v] = c.TimeTick
			scan.Positions = append(scan.Positions, c.ID)
		}
	}
	for _, c := range g.in.Copies {
		scan.Broadcasts[c.Broadcast] = true
	}
	if r := g.wals[g.pchannel].Checkpoint.GetReplicateCheckpoint(); r.GetMessageId() != nil {
		id, _, err := message.ParseRaw(backendOfName(r.GetMessageId().GetWALName(), g.src), r.GetMessageId().GetId())
		if err == nil {
			scan.Foreign = &diagnose.ForeignPosition{ID: id, TimeTick: r.GetTimeTick()}
		}
	}
	extent, err := source.ExtentOf(ctx, g.src)
	if err == nil && !extent.Whole {
		g.unknown = append(g.unknown, "positions and broadcasts of "+g.pchannel+" beyond what is held of its log ("+extent.Detail+")")
		scan.ToEnd, scan.WholeRead = false, false
		return scan, nil
	}
	if err == nil {
		var b source.Bounds
		if b, err = g.src.Bounds(ctx); err == nil {
			scan.Bounds = &b
		}
	}
	if ctx.Err() != nil {
		return scan, context.Cause(ctx)
	}
	return scan, nil // a stream cannot be asked for its ends: reading it whole tells them
}

// backendOfName reads a stored WAL name; 0 means the log's own backend.
func backendOfName[N ~int32](name N, src source.Source) message.Backend {
	if b := message.Backend(name); b != message.BackendUnknown {
		return b
	}
	if b := src.Describe().Backend; b != message.BackendUnknown {
		return b
	}
	return message.BackendPulsar
}

func (g *gathered) registrations(p string) {
	md := g.wals[p]
	for name, v := range md.VChannels {
		r := diagnose.RegisteredChannel{PChannel: p, VChannel: name, Collection: v.GetCollectionInfo().GetCollectionId(), TimeTick: v.GetCheckpointTimeTick(),
			Dropped: v.GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED, Schemas: len(v.GetCollectionInfo().GetSchemas())}
		for _, s := range md.Segments {
			if s.GetVchannel() == name && s.GetState() == streamingpb.SegmentAssignmentState_SEGMENT_ASSIGNMENT_STATE_GROWING {
				r.Growing++
				r.Rows += s.GetStat().GetModifiedRows()
			}
		}
		g.in.Registered = append(g.in.Registered, r)
	}
	for _, pr := range md.Problems {
		v := catalog.ParseKey(pr.Key).VChannel
		if pr.Code == catalog.CodeOrphanSchema && !slices.Contains(g.in.OrphanSchemas[p], v) {
			g.in.OrphanSchemas[p] = append(g.in.OrphanSchemas[p], v)
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

func (g *gathered) assigned(p string) diagnose.AssignedChannel {
	var out diagnose.AssignedChannel
	if m := g.cluster.PChannels[p]; m != nil {
		out = assignedBy(m)
	}
	if cp := g.wals[p].Checkpoint; cp != nil {
		out.Opened, out.Tick = true, cp.GetTimeTick()
		id, _, err := message.ParseRaw(backendOfName(cp.GetMessageId().GetWALName(), g.src), cp.GetMessageId().GetId())
		if err == nil {
			out.ID = id
		}
	}
	return out
}

// listed takes from RootCoord which vchannels there are to be.
func (g *gathered) listed() {
	g.in.Listed, g.in.ListedKnown = map[string]diagnose.ListedChannel{}, len(g.collections) > 0
	for id, c := range g.collections {
		state := strings.ToLower(strings.TrimPrefix(c.Info.GetState().String(), "Collection"))
		for _, v := range c.Info.GetVirtualChannelNames() {
			g.in.Listed[v] = diagnose.ListedChannel{Collection: id, Name: c.Name(), State: state, Schema: len(c.Schema.GetFields()) > 0,
				Old: c.CreatedBy(g.in.Assigned[message.PChannelOf(v)].Tick)}
		}
	}
	if !g.in.ListedKnown {
		g.unknown = append(g.unknown, "RootCoord (the catalog holds none of its collections)")
	}
}

// liveSeen is what live processes say of themselves.
type liveSeen struct {
	known    bool
	wals     []diagnose.LiveWAL
	symptoms []diagnose.Reduplicate
}

// metricsTimeout bounds how long one metrics endpoint is waited for.
const metricsTimeout = 10 * time.Second

// liveEvidence asks the metrics endpoints and reads the Milvus logs named. What
// does not answer is named, not fatal.
func liveEvidence(ctx context.Context, f *cli.Factory, o *channelsOptions) (*liveSeen, []string) {
	out, unknown := &liveSeen{}, []string{}
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
		out.wals = append(out.wals, wals...)
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
	body, err := openMetrics(ctx, place)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return diagnose.ReadLiveWALs(body)
}

// archivedMetrics reads the metrics an archive carries, where none were named.
func (g *gathered) archivedMetrics() {
	with, ok := source.As[source.EvidenceSource](g.src)
	if ok && !g.in.LiveKnown {
		for _, e := range with.Evidence() {
			if !strings.HasPrefix(e.Name, source.EvidenceMetrics) {
				continue
			}
			file, err := safefile.Open(e.File)
			if err != nil {
				g.unknown = append(g.unknown, "metrics ("+err.Error()+")")
				continue
			}
			wals, err := diagnose.ReadLiveWALs(io.Reader(file))
			_ = file.Close()
			if err != nil {
				g.unknown = append(g.unknown, "metrics ("+err.Error()+")")
				continue
			}
			g.in.Live, g.in.LiveKnown = append(g.in.Live, wals...), true
		}
	}
	if !g.in.LiveKnown {
		g.unknown = append(g.unknown, "live nodes (no metrics: --metrics URL)")
	}
}
