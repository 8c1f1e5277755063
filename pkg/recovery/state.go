package recovery

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// DefaultClusterPrefix is Milvus's default of msgChannel.chanNamePrefix.cluster:
// the name of the own cluster in a replicate configuration.
const DefaultClusterPrefix = "by-dev"

// Options tune a State.
type Options struct {
	// ClusterPrefix is the own cluster's name; "" = DefaultClusterPrefix.
	ClusterPrefix string
	// Milvus is the version asked about ("2.6.14"); "" = not known. Only what
	// differs within a line looks at it.
	Milvus string
}

// State is what Milvus's recovery holds of one pchannel. It is not safe for
// concurrent use.
type State struct {
	pchannel string
	cluster  string
	kv       map[string][]byte // as loaded; never changed

	vchannels map[string]*vchannel
	*segments
	persisted map[string][]byte // what Persist gave; nil = not since the last delivery

	// The checkpoint: base as loaded, moved on by last (its `_lc`) to tick.
	base   *streamingpb.WALCheckpoint
	last   *message.Message
	latest *message.Message // observed at tick; nil at the start
	// firstMessage is the first but TimeTicks after the checkpoint.
	firstMessage *message.Message
	tick         uint64
	newest       uint64 // the largest TimeTick delivered
	changed      bool
	salvage      map[string]*commonpb.ReplicateCheckpoint // staged by a force promote
	alterWAL     bool

	issues Issues
	losses map[string]Loss // by vchannel
	// broadcasts are those met, by vchannel.
	broadcasts map[string]*message.Broadcasts
	observed   int64 // deliveries applied
	skipped    int64 // deliveries at or before the checkpoint's TimeTick
}

type vchannel struct {
	meta    *streamingpb.VChannelMeta
	dirty   bool
	schemas int // how many of meta's schemas the catalog already has
	places  places
}

// NewState starts from a catalog. What the catalog lacks or gets wrong becomes
// an Issue; a missing checkpoint starts at TimeTick 0 (Replay does what Milvus
// does then). md's messages are not changed. It fails only on a pchannel without name.
func NewState(md catalog.Metadata, o Options) (*State, error) {
	if md.PChannel == "" {
		return nil, fmt.Errorf("start a recovery: the metadata names no pchannel")
	}
	s := &State{
		pchannel:  md.PChannel,
		cluster:   o.ClusterPrefix,
		kv:        md.KV,
		vchannels: make(map[string]*vchannel, len(md.VChannels)),
		segments:  newSegments(len(md.Segments)),
		base:      &streamingpb.WALCheckpoint{},
		salvage:   make(map[string]*commonpb.ReplicateCheckpoint),
	}
	if s.cluster == "" {
		s.cluster = DefaultClusterPrefix
	}
	if md.Checkpoint != nil {
		s.base = proto.Clone(md.Checkpoint).(*streamingpb.WALCheckpoint)
		s.tick = s.base.TimeTick
	}
	for _, p := range md.Problems {
		if p.Fatal {
			s.issues.add(fromProblem(p))
		}
	}
	if st := s.base.AlterWalState; st != nil {
		s.issues.add(Issue{Code: CodeAlterWALStageLost, Stops: AllLines, Key: catalog.CheckpointKey(s.pchannel),
			Detail: fmt.Sprintf("switch to %s at TimeTick %d stands at stage %s", st.TargetWalName, st.TimeTick, st.Stage)})
	}
	for name, v := range md.VChannels {
		v = proto.Clone(v).(*streamingpb.VChannelMeta)
		if v.CollectionInfo == nil {
			v.CollectionInfo = &streamingpb.CollectionInfoOfVChannel{}
		}
		s.vchannels[name] = &vchannel{meta: v, schemas: len(v.CollectionInfo.Schemas)}
	}
	for id, m := range md.Segments {
		g := &segment{id: id, meta: m, shared: true}
		if m.Stat == nil {
			g.own()
			g.meta.Stat = &streamingpb.SegmentAssignmentStat{}
		}
		s.put(g)
	}
	return s, nil
}

// Observe takes the next delivery of the WAL. docs/rules.md#recovery
func (s *State) Observe(d order.Delivery) {
	back := d.TimeTick < s.newest
	s.newest = max(s.newest, d.TimeTick)
	if d.TimeTick <= s.tick {
		s.skipped++
		if back && d.Message.Type != message.TypeTimeTick {
			s.wentBack(d)
			return
		}
		if s.latest != nil && d.TimeTick == s.tick && d.Message.Type != message.TypeTimeTick && !sameMessage(s.latest, d.Message) {
			s.issues.add(about(CodeEqualTimeTick, d.Message))
			s.loseDelivery(d)
		}
		return
	}
	s.latest = d.Message
	s.persisted = nil
	s.observed++
	if s.firstMessage == nil && d.Message.Type != message.TypeTimeTick {
		s.firstMessage = d.Message
	}
	if d.Begin != nil {
		if s.checkVChannel(d.Begin); len(d.Message.Defects) > 0 {
			s.defects(d.Message)
		}
		for _, m := range d.Body {
			s.apply(m, d.TimeTick)
		}
	} else {
		s.apply(d.Message, d.TimeTick)
	}
	s.advance(d.Message, d.TimeTick)
}

// importWaitsFrom is how long the log has gone on behind a CommitImport before it
// counts as what holds the checkpoint: far above the interval it is saved at.
const importWaitsFrom = 60_000 // ms

// importWaits notes a CommitImport right after the checkpoint that the log has long
// passed: the flusher does not get past it, and the checkpoint with it.
func (s *State) importWaits() {
	m := s.firstMessage
	if m == nil || m.Type != message.TypeCommitImport || message.PhysicalMillis(s.tick)-message.PhysicalMillis(m.TimeTick) < importWaitsFrom {
		return
	}
	s.issues.add(about(CodeImportWaits, m))
}

// wentBack counts a delivery that recovery ignores because time went back before it.
func (s *State) wentBack(d order.Delivery) {
	i := about(CodeTimeWentBack, d.Message)
	for _, m := range d.Body {
		if m.Type == message.TypeInsert {
			i.Rows += m.Rows
		}
	}
	s.issues.add(i)
	s.loseDelivery(d)
}

// sameMessage reports whether b is a second copy of a, as an append that was tried
// again leaves it: all but its id and its last confirmed id is the same.
func sameMessage(a, b *message.Message) bool {
	return a.Type == b.Type && a.VChannel == b.VChannel && a.Partition == b.Partition && a.Segment == b.Segment &&
		a.Rows == b.Rows && a.BinarySize == b.BinarySize && a.TxnID == b.TxnID && a.PayloadSize == b.PayloadSize
}

// advance is what every message does to the checkpoint, control channel included.
func (s *State) advance(m *message.Message, tick uint64) {
	if change := advanceOf(m.Type); change != nil {
		change(s, m)
	}
	s.tick, s.changed = tick, true
	if m.Flags&(message.HasLastConfirmed|message.LastConfirmedSelf) != 0 {
		s.last = m
	}
	if m.Has(message.HasReplicate) {
		s.advanceReplicate(m)
	}
}

// advanceOf returns what a type changes in the checkpoint itself, nil for types that
// only move it.
func advanceOf(t message.Type) func(*State, *message.Message) {
	if t == message.TypeAlterReplicateConfig {
		return (*State).alterReplicateConfig
	}
	return nil
}

// isControl reports a message on the control channel that is not meant for the
// whole pchannel: it changes no metadata here.
func isControl(m *message.Message) bool {
	return !m.Has(message.PChannelLevel) && message.IsControlChannel(m.VChannel)
}

// checkVChannel notes a message on a vchannel the metadata does not know.
func (s *State) checkVChannel(m *message.Message) {
	if m.VChannel == "" || m.Has(message.PChannelLevel) || s.vchannels[m.VChannel] != nil || isControl(m) || m.VChannel == s.pchannel {
		return
	}
	if m.Type != message.TypeCreateCollection && m.Type != message.TypeDropCollection {
		i := about(CodeVChannelUnknown, m)
		i.Rows = 0 // an Insert's rows are counted where they are passed over
		s.issues.add(i)
		if m.Type != message.TypeInsert && m.Type != message.TypeBeginTxn && m.Type != message.TypeCommitTxn {
			s.lose(m)
		}
	}
}

// active reports whether a partition of a vchannel exists and is not dropped.
func (s *State) active(name string, partition int64) bool {
	v := s.vchannels[name]
	return v != nil && !dropped(v) && v.partition(partition) >= 0
}

// Checkpoint returns the consume checkpoint as it stands.
func (s *State) Checkpoint() *streamingpb.WALCheckpoint {
	cp := proto.Clone(s.base).(*streamingpb.WALCheckpoint)
	cp.TimeTick = s.tick
	if s.last != nil {
		cp.MessageId = &commonpb.MessageID{Id: s.last.RawLastConfirmed(), WALName: s.walName(s.last.LastConfirmed.Backend)}
	}
	return cp
}

// walName is the backend's number in a stored id. A log of plain offsets does
// not tell RocksMQ from Kafka: the checkpoint it started from does.
func (s *State) walName(b message.Backend) commonpb.WALName {
	if b == message.BackendOffset || b == message.BackendUnknown {
		return s.base.GetMessageId().GetWALName()
	}
	return commonpb.WALName(b)
}

// View is a state as metadata. It shares its messages with the State: read it
// before the next Observe, and change nothing.
type View struct {
	VChannels  map[string]*streamingpb.VChannelMeta
	Segments   map[int64]*streamingpb.SegmentAssignmentMeta
	Checkpoint *streamingpb.WALCheckpoint
}

// All returns everything held, dropped vchannels and flushed segments included.
func (s *State) All() View {
	s.settle()
	v := View{make(map[string]*streamingpb.VChannelMeta, len(s.vchannels)),
		make(map[int64]*streamingpb.SegmentAssignmentMeta, len(s.all)), s.Checkpoint()}
	for name, x := range s.vchannels {
		v.VChannels[name] = x.meta
	}
	for id, x := range s.all {
		v.Segments[id] = x.meta
	}
	return v
}

// Snapshot returns what Milvus hands to its managers: vchannels that are not
// dropped and growing segments of active partitions. docs/rules.md#recovery
func (s *State) Snapshot() View {
	s.settle()
	v := View{make(map[string]*streamingpb.VChannelMeta), make(map[int64]*streamingpb.SegmentAssignmentMeta), s.Checkpoint()}
	for name, x := range s.vchannels {
		if !dropped(x) {
			v.VChannels[name] = x.meta
		}
	}
	for id, x := range s.growing {
		if growing(x) && s.active(x.meta.Vchannel, x.meta.PartitionId) {
			v.Segments[id] = x.meta
		}
	}
	return v
}

// Orphans lists the growing segments Snapshot leaves out, with their rows.
func (s *State) Orphans() []Issue {
	var out Issues
	var orphans []*segment
	for _, x := range s.growing {
		if growing(x) && !s.active(x.meta.Vchannel, x.meta.PartitionId) {
			orphans = append(orphans, x)
		}
	}
	slices.SortFunc(orphans, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	for _, x := range orphans {
		out.add(Issue{Code: CodeSegmentOrphan, VChannel: x.meta.Vchannel, Collection: x.meta.CollectionId, Partition: x.meta.PartitionId,
			Segment: x.id, Rows: x.meta.GetStat().GetModifiedRows(), Key: catalog.SegmentKey(s.pchannel, x.id)})
	}
	return out.list
}

// Issues returns what was met so far.
func (s *State) Issues() *Issues { return &s.issues }

// AlterWAL reports whether an AlterWAL was replayed.
func (s *State) AlterWAL() bool { return s.alterWAL }

// TimeTick is the checkpoint's TimeTick: everything up to it is in the state.
func (s *State) TimeTick() uint64 { return s.tick }

// PChannel names the WAL.
func (s *State) PChannel() string { return s.pchannel }

// Observed and Skipped count deliveries applied, and those at or before the
// checkpoint.
func (s *State) Observed() int64 { return s.observed }

// Skipped counts the deliveries at or before the checkpoint's TimeTick.
func (s *State) Skipped() int64 { return s.skipped }

// Clone returns an independent copy: what is observed there is not seen here.
func (s *State) Clone() *State {
	s.settle()
	c := *s
	c.base = proto.Clone(s.base).(*streamingpb.WALCheckpoint)
	c.salvage = maps.Clone(s.salvage)
	c.issues = s.issues.clone()
	c.losses = maps.Clone(s.losses)
	c.broadcasts = make(map[string]*message.Broadcasts, len(s.broadcasts))
	for name, b := range s.broadcasts {
		c.broadcasts[name] = b.Clone()
	}
	c.vchannels = make(map[string]*vchannel, len(s.vchannels))
	for name, v := range s.vchannels {
		c.vchannels[name] = &vchannel{meta: proto.Clone(v.meta).(*streamingpb.VChannelMeta), dirty: v.dirty, schemas: v.schemas}
	}
	c.states++
	return &c
}

// tickSeconds is a TimeTick's physical part in Unix seconds.
func tickSeconds(tick uint64) int64 { return message.PhysicalMillis(tick) / 1000 & math.MaxInt64 }
