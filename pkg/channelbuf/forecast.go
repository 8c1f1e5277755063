package channelbuf

import (
	"cmp"
	"slices"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// Policy is what decides how much a streaming node buffers. Sizes in bytes,
// shares of the node's memory. docs/rules.md#buffers
type Policy struct {
	NodeMemory         int64   // 0 = unknown: no verdict
	InsertBufSize      int64   // dataNode.segment.insertBufSize: a segment's rows are synced at this size
	DeleteBufBytes     int64   // dataNode.segment.deleteBufBytes
	ForceSyncWatermark float64 // dataNode.memory.forceSyncWatermark
	GrowingHWM         float64 // streaming.flush.growingSegmentBytesHwmThreshold
	WriteAheadBuffer   int64   // streaming.walWriteAheadBuffer.capacity, a WAL
}

// DefaultPolicy is what a cluster has that changed nothing.
func DefaultPolicy() Policy {
	return Policy{InsertBufSize: 16 << 20, DeleteBufBytes: 16 << 20, ForceSyncWatermark: 0.5, GrowingHWM: 0.2, WriteAheadBuffer: 64 << 20}
}

// Forecaster tells, from headers alone, what the write buffers of one pchannel
// would take in a restart: every vchannel's rows and deletes since its checkpoint.
type Forecaster struct {
	policy  Policy
	starts  map[string]uint64
	buffers map[string]*demand
	out     PChannelForecast
	pending int64 // bytes buffered now, syncs taken into account
	held    int64 // bytes buffered now if only sealed segments are synced
	all     int64 // bytes buffered now if no sync ever finished
}

type demand struct {
	start    uint64
	dropped  bool
	segments map[int64]*segmentDemand
	deletes  segmentDemand
}

type segmentDemand struct {
	id, partition int64
	rows          uint64
	bytes         int64 // since the checkpoint
	pending       int64 // since the last sync
	synced        int64 // of deletes: bytes a flush of everything has written
	sealed        bool
}

// PChannelForecast is what one pchannel's buffers would take. Bytes are what a
// write buffer counts: payloads as logged.
type PChannelForecast struct {
	PChannel  string             `json:"pchannel"`
	Messages  int64              `json:"messages"` // since the earliest checkpoint
	Rows      uint64             `json:"rows"`
	Bytes     int64              `json:"bytes"`       // held at the end if no sync finishes
	Peak      int64              `json:"peak_bytes"`  // the most at once, with syncs at their thresholds
	Held      int64              `json:"held_bytes"`  // the most at once if only sealed segments are synced
	Stalled   int64              `json:"stall_bytes"` // the most at once if no sync finishes
	PeakAt    uint64             `json:"peak_at_time_tick,string"`
	Reorder   int64              `json:"reorder_bytes"` // the most the reorder heap and open transactions held
	VChannels []VChannelForecast `json:"vchannels"`
}

// VChannelForecast is one vchannel's share, largest segments first.
type VChannelForecast struct {
	VChannel    string            `json:"vchannel"`
	Checkpoint  uint64            `json:"checkpoint,string"`
	Rows        uint64            `json:"rows"`
	Bytes       int64             `json:"bytes"`
	DeleteRows  uint64            `json:"delete_rows"`
	DeleteBytes int64             `json:"delete_bytes"`
	Segments    []SegmentForecast `json:"segments"`
}

// SegmentForecast is one segment's share.
type SegmentForecast struct {
	Segment   int64  `json:"segment_id,string"`
	Partition int64  `json:"partition_id,string"`
	Rows      uint64 `json:"rows"`
	Bytes     int64  `json:"bytes"`
	Sealed    bool   `json:"sealed,omitempty"`
}

// NewForecaster starts a forecast. starts is the TimeTick of every registered
// vchannel's flush checkpoint; a vchannel created in the log starts there.
func NewForecaster(pchannel string, starts map[string]uint64, p Policy) *Forecaster {
	f := &Forecaster{policy: p, starts: starts, buffers: make(map[string]*demand)}
	f.out.PChannel = pchannel
	for v, start := range starts {
		f.buffers[v] = newDemand(start)
	}
	return f
}

func newDemand(start uint64) *demand {
	return &demand{start: start, segments: make(map[int64]*segmentDemand)}
}

// Reordering tells what the scanner holds back now, in bytes.
func (f *Forecaster) Reordering(bytes int64) { f.out.Reorder = max(f.out.Reorder, bytes) }

// Observe counts a delivery. Payloads are not needed.
func (f *Forecaster) Observe(d order.Delivery) {
	f.out.Messages++
	if d.Begin != nil {
		for _, m := range d.Body {
			f.observe(m, d.TimeTick)
		}
	} else {
		f.observe(d.Message, d.TimeTick)
	}
	if f.pending > f.out.Peak {
		f.out.Peak, f.out.PeakAt = f.pending, d.TimeTick
	}
	f.out.Held = max(f.out.Held, f.held)
	f.out.Stalled = max(f.out.Stalled, f.all)
}

func (f *Forecaster) observe(m *message.Message, tick uint64) {
	if m.Type.Seals() == message.SealsAll {
		for _, b := range f.buffers {
			f.sealAll(b, tick)
		}
		return
	}
	b := f.buffers[m.VChannel]
	if b == nil && begins(m.Type) && !message.IsControlChannel(m.VChannel) {
		b = newDemand(tick)
		f.buffers[m.VChannel] = b
	}
	if b == nil || b.dropped || tick <= b.start {
		return
	}
	switch m.Type {
	case message.TypeInsert:
		s := b.segments[m.Segment]
		if s == nil {
			s = &segmentDemand{id: m.Segment, partition: m.Partition}
			b.segments[m.Segment] = s
		}
		if !s.sealed {
			f.grow(s, m, f.policy.InsertBufSize)
		}
	case message.TypeDelete:
		f.grow(&b.deletes, m, f.policy.DeleteBufBytes)
	default:
		f.ends(b, m, tick)
	}
}

// ends syncs the segments of a buffer that a message seals.
func (f *Forecaster) ends(b *demand, m *message.Message, tick uint64) {
	switch m.Type.Seals() {
	case message.SealsOwn:
		f.seal(b.segments[m.Segment])
	case message.SealsListed:
		for _, id := range m.FlushedSegments() {
			f.seal(b.segments[id])
		}
	case message.SealsPartition:
		for _, s := range b.segments {
			if s.partition == m.Partition {
				f.seal(s)
			}
		}
	case message.SealsCollection:
		f.sealAll(b, tick)
		b.dropped = true
	}
}

// grow buffers a message, then syncs at the threshold.
func (f *Forecaster) grow(s *segmentDemand, m *message.Message, threshold int64) {
	n := m.PayloadSize + chunkOverhead
	s.rows += m.Rows
	s.bytes += n
	s.pending += n
	f.pending += n
	f.held += n
	f.all += n
	if threshold > 0 && s.pending >= threshold {
		if f.pending > f.out.Peak {
			f.out.Peak = f.pending
		}
		f.pending -= s.pending
		s.pending = 0
	}
}

// seal syncs a segment for good. Without a finished sync its bytes stay.
func (f *Forecaster) seal(s *segmentDemand) {
	if s == nil || s.sealed {
		return
	}
	s.sealed = true
	f.pending -= s.pending
	f.held -= s.bytes
	s.pending = 0
}

func (f *Forecaster) sealAll(b *demand, tick uint64) {
	if tick <= b.start {
		return
	}
	for _, s := range b.segments {
		f.seal(s)
	}
	f.pending -= b.deletes.pending
	f.held -= b.deletes.bytes - b.deletes.synced
	b.deletes.pending, b.deletes.synced = 0, b.deletes.bytes
}

// Forecast returns what was counted so far, largest vchannels and segments first.
func (f *Forecaster) Forecast() PChannelForecast {
	out := f.out
	out.Rows, out.Bytes = 0, f.all
	out.VChannels = make([]VChannelForecast, 0, len(f.buffers))
	for v, b := range f.buffers {
		vf := VChannelForecast{VChannel: v, Checkpoint: b.start, DeleteRows: b.deletes.rows, DeleteBytes: b.deletes.bytes,
			Bytes: b.deletes.bytes, Segments: make([]SegmentForecast, 0, len(b.segments))}
		for _, s := range b.segments {
			vf.Rows += s.rows
			vf.Bytes += s.bytes
			vf.Segments = append(vf.Segments, SegmentForecast{Segment: s.id, Partition: s.partition, Rows: s.rows, Bytes: s.bytes, Sealed: s.sealed})
		}
		slices.SortFunc(vf.Segments, func(a, b SegmentForecast) int {
			return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Segment, b.Segment))
		})
		out.Rows += vf.Rows
		out.VChannels = append(out.VChannels, vf)
	}
	slices.SortFunc(out.VChannels, func(a, b VChannelForecast) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.VChannel, b.VChannel))
	})
	return out
}

// Verdict says whether a node survives its restart.
type Verdict string

// The verdicts, from the figures of NodeForecast.
const (
	VerdictFits    Verdict = "fits"    // below the force-sync watermark even if no sync finishes
	VerdictTight   Verdict = "tight"   // fits as long as syncs keep up
	VerdictExceeds Verdict = "exceeds" // more than the node's memory even with syncs
	VerdictUnknown Verdict = "unknown" // the node's memory was not given
)

// NodeForecast adds up the pchannels of one streaming node.
type NodeForecast struct {
	Node       string   `json:"node"`
	Memory     int64    `json:"memory_bytes,omitempty"`
	PChannels  []string `json:"pchannels"`
	Peak       int64    `json:"peak_bytes"`        // buffers with syncs, reorder heaps, write-ahead buffers
	Held       int64    `json:"held_bytes"`        // of the buffers alone, if only sealed segments are synced
	Stalled    int64    `json:"stall_bytes"`       // everything, if no sync finishes
	Watermark  int64    `json:"watermark_bytes"`   // force sync begins here
	GrowingHWM int64    `json:"growing_hwm_bytes"` // sealing by memory begins here
	Verdict    Verdict  `json:"verdict"`
	Levers     []string `json:"levers,omitempty"` // what would lower it
}

// ForNode adds up what a node's pchannels take; all peaks may meet.
func ForNode(node string, ps []PChannelForecast, p Policy) NodeForecast {
	n := NodeForecast{Node: node, Memory: p.NodeMemory, Verdict: VerdictUnknown}
	for i := range ps {
		n.PChannels = append(n.PChannels, ps[i].PChannel)
		fixed := ps[i].Reorder + p.WriteAheadBuffer
		n.Peak += ps[i].Peak + fixed
		n.Held += ps[i].Held
		n.Stalled += ps[i].Stalled + fixed
	}
	if p.NodeMemory <= 0 {
		return n
	}
	n.Watermark = int64(p.ForceSyncWatermark * float64(p.NodeMemory))
	n.GrowingHWM = int64(p.GrowingHWM * float64(p.NodeMemory))
	switch {
	case n.Peak >= p.NodeMemory:
		n.Verdict = VerdictExceeds
	case n.Stalled >= n.Watermark:
		n.Verdict = VerdictTight
	default:
		n.Verdict = VerdictFits
	}
	n.Levers = levers(&n, ps, p)
	return n
}

func levers(n *NodeForecast, ps []PChannelForecast, p Policy) []string {
	if n.Verdict == VerdictFits {
		return nil
	}
	var out []string
	if len(ps) > 1 {
		out = append(out, "start more streaming nodes: the pchannels spread over them")
	}
	if n.Peak > n.Watermark {
		out = append(out, "lower dataNode.segment.insertBufSize: segments are synced earlier")
	}
	if n.Stalled > n.Watermark {
		out = append(out, "make sure object storage keeps up before the restart: unfinished syncs hold their rows")
	}
	wab := int64(len(ps)) * p.WriteAheadBuffer
	if wab*10 > n.Peak {
		out = append(out, "lower streaming.walWriteAheadBuffer.capacity while recovering")
	}
	return out
}

// CheckOutOfMemory finds that a restart takes more memory than the node has.
var CheckOutOfMemory = &check.Check{
	Code: "restart-out-of-memory", Severity: check.Critical, Needs: check.NeedCatalog | check.NeedMemory,
	Title:   "a restart takes more memory than the node has",
	Says:    "the node's buffers outgrow its memory while it replays",
	Meaning: "The node is killed while it replays, again at each restart, and the WALs it serves stay closed.",
	Cause:   "Rows written since the channel checkpoints do not fit, over all the WALs the node opens at once: many shards times many partitions keep many small segments open, each below the size at which it is synced.",
	Do:      "Start more or larger streaming nodes, or lower dataNode.segment.insertBufSize, before the restart; recover --forecast says what each would do.",
	Threads: []string{"milvus#40592", "milvus#39275", "milvus#49077"},
}

// CheckMemoryTight finds that a restart fits only while syncs keep up.
var CheckMemoryTight = &check.Check{
	Code: "restart-memory-tight", Severity: check.Warning, Needs: check.NeedCatalog | check.NeedMemory,
	Title:   "a restart fits only while syncs keep up",
	Says:    "the restart fits only while syncs to object storage keep up",
	Meaning: "With object storage slow or away, what is replayed stays in memory above the watermark.",
	Cause:   "Much was written since the channel checkpoints.",
	Do:      "Make sure that object storage answers before the restart.",
	Threads: []string{"milvus#40592", "milvus#48974"},
}

// Check is what a verdict has to say, nil where a node survives.
func (v Verdict) Check() *check.Check {
	switch v {
	case VerdictExceeds:
		return CheckOutOfMemory
	case VerdictTight:
		return CheckMemoryTight
	}
	return nil
}

// Checks lists what a forecast can report.
func Checks() []*check.Check { return []*check.Check{CheckOutOfMemory, CheckMemoryTight} }
