package catalog

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/datapb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

const segmentInfoPrefix = "datacoord-meta/s/" // <collection>/<partition>/<segment>: SegmentInfo

// The places a position in a WAL is stored.
const (
	PlaceCheckpoint = "consume-checkpoint"   // where recovery begins to read
	PlaceReplicate  = "replicate-checkpoint" // in the source cluster's WAL, not this one
	PlaceSalvage    = "salvage-checkpoint"   // likewise
	PlaceChannelCP  = "channel-cp"           // how far DataCoord has flushed a vchannel
	PlaceStart      = "start-position"       // where RootCoord says a collection begins
	PlaceSegment    = "segment-start"        // where a segment's first row lies
	PlaceSegmentDML = "segment-dml"          // up to where a segment was flushed
)

// Position is one stored position.
type Position struct {
	Place    string
	Key      string // the catalog key it stands in
	VChannel string
	Segment  int64
	TimeTick uint64 // 0 where none is stored with it
	ID       message.ID
	HasID    bool // false: dropped, never set, or Err
	Backend  message.Backend
	Foreign  bool  // a position in another cluster's WAL
	Err      error // the stored id cannot be read
}

// Positions lists every position stored about one pchannel, by place and key:
// the five places a repair has to keep together.
func Positions(ctx context.Context, c Catalog, pchannel string) ([]Position, []Problem, error) {
	md, _, err := c.Load(ctx, pchannel)
	if err != nil {
		return nil, nil, err
	}
	p := positionLister{pchannel: pchannel, backend: message.Backend(md.Checkpoint.GetMessageId().GetWALName())}
	p.problems = append(p.problems, md.Problems...)
	p.checkpoints(md)
	kvs, _, err := c.Range(ctx, channelCPPrefix+pchannel+"_")
	if err != nil {
		return nil, nil, err
	}
	for _, kv := range kvs {
		m := &msgpb.MsgPosition{}
		if p.readable(decodeValue(kv.Key, kv.Value, m)) {
			p.position(PlaceChannelCP, kv.Key, strings.TrimPrefix(kv.Key, channelCPPrefix), 0, m)
		}
	}
	cols, problems, err := Collections(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	p.problems = append(p.problems, problems...)
	for id, col := range cols {
		p.starts(id, col)
		if !p.concerns(col) {
			continue
		}
		if err := p.segments(ctx, c, id); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(p.out, func(a, b Position) int {
		return cmp.Or(strings.Compare(a.Place, b.Place), strings.Compare(a.Key, b.Key))
	})
	return p.out, p.problems, nil
}

type positionLister struct {
	pchannel string
	backend  message.Backend
	out      []Position
	problems []Problem
}

func (p *positionLister) readable(pr *Problem) bool {
	if pr == nil {
		return true
	}
	p.problems = append(p.problems, *pr)
	return pr.Code == CodeNotRoundTrip
}

func (p *positionLister) checkpoints(md Metadata) {
	if cp := md.Checkpoint; cp != nil {
		pos := Position{Place: PlaceCheckpoint, Key: CheckpointKey(p.pchannel), TimeTick: cp.GetTimeTick()}
		p.text(pos, cp.GetMessageId())
		if r := cp.GetReplicateCheckpoint(); r != nil {
			p.text(Position{Place: PlaceReplicate, Key: CheckpointKey(p.pchannel), TimeTick: r.GetTimeTick(), Foreign: true}, r.GetMessageId())
		}
	}
	for cluster, r := range md.Salvage {
		p.text(Position{Place: PlaceSalvage, Key: SalvageKey(p.pchannel, cluster), TimeTick: r.GetTimeTick(), Foreign: true}, r.GetMessageId())
	}
}

// text adds a position stored as commonpb.MessageID: base64 or base36 text.
func (p *positionLister) text(pos Position, id *commonpb.MessageID) {
	pos.Backend = message.Backend(id.GetWALName())
	if pos.Backend == message.BackendUnknown {
		pos.Backend = p.backend
	}
	if id != nil {
		pos.ID, _, pos.Err = message.ParseRaw(pos.Backend, id.GetId())
		pos.HasID = pos.Err == nil
	}
	p.out = append(p.out, pos)
}

// position adds one stored as MsgPosition: the id's raw bytes.
func (p *positionLister) position(place, key, vchannel string, segment int64, m *msgpb.MsgPosition) {
	pos := Position{Place: place, Key: key, VChannel: vchannel, Segment: segment, TimeTick: m.GetTimestamp(), Backend: message.Backend(m.GetWALName())}
	p.raw(pos, m.GetMsgID())
}

func (p *positionLister) raw(pos Position, id []byte) {
	if pos.Backend == message.BackendUnknown {
		pos.Backend = p.backend
	}
	// Woodpecker's first position, 0/0, is stored as no bytes at all.
	first := pos.Backend == message.BackendWoodpecker && pos.TimeTick != math.MaxUint64
	if len(id) > 0 || first {
		pos.ID, _, pos.Err = message.ParseBytes(pos.Backend, id)
		pos.HasID = pos.Err == nil
	}
	p.out = append(p.out, pos)
}

// concerns reports whether a collection has a shard on the pchannel.
func (p *positionLister) concerns(col *Collection) bool {
	return slices.Contains(col.Info.GetPhysicalChannelNames(), p.pchannel) ||
		slices.ContainsFunc(col.Info.GetVirtualChannelNames(), func(v string) bool { return strings.HasPrefix(v, p.pchannel+"_") })
}

func (p *positionLister) starts(id int64, col *Collection) {
	key := collectionOfDB + strconv.FormatInt(col.Info.GetDbId(), 10) + "/" + strconv.FormatInt(id, 10)
	for _, s := range col.Info.GetStartPositions() {
		if s.GetKey() == p.pchannel || strings.HasPrefix(s.GetKey(), p.pchannel+"_") {
			p.raw(Position{Place: PlaceStart, Key: key, VChannel: s.GetKey()}, s.GetData())
		}
	}
}

func (p *positionLister) segments(ctx context.Context, c Catalog, collection int64) error {
	kvs, _, err := c.Range(ctx, segmentInfoPrefix+strconv.FormatInt(collection, 10)+"/")
	if err != nil {
		return fmt.Errorf("read segments of collection %d: %w", collection, err)
	}
	for _, kv := range kvs {
		m := &datapb.SegmentInfo{}
		if !p.readable(decodeValue(kv.Key, kv.Value, m)) || !strings.HasPrefix(m.GetInsertChannel(), p.pchannel+"_") {
			continue
		}
		if m.GetStartPosition() != nil {
			p.position(PlaceSegment, kv.Key, m.GetInsertChannel(), m.GetID(), m.GetStartPosition())
		}
		if m.GetDmlPosition() != nil {
			p.position(PlaceSegmentDML, kv.Key, m.GetInsertChannel(), m.GetID(), m.GetDmlPosition())
		}
	}
	return nil
}
