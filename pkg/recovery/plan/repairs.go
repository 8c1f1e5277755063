package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// ErrCannotRepair means that a repair would need what nobody knows.
var ErrCannotRepair = errors.New("cannot be repaired so")

// Target is a position in the log to move others to.
type Target struct {
	ID       message.ID
	Form     message.Form // as the log spells ids
	TimeTick uint64       // of the message there
	// Log is what the log holds: a position that does not stand in it is lost.
	// Where it is not known, what lies before ID is.
	Log source.Bounds
}

// lost reports whether a stored position can't be read from.
func (t Target) lost(id message.ID, err error) bool {
	if err != nil {
		return true
	}
	if t.Log.First.IsZero() {
		return !id.SameWAL(t.ID) || id.Less(t.ID)
	}
	return t.Log.Standing(id).Gone()
}

func (t Target) messageID() *commonpb.MessageID {
	return &commonpb.MessageID{Id: t.ID.Raw(t.Form), WALName: commonpb.WALName(t.ID.WALName())}
}

// bytes is the id as channel-cp stores it.
func (t Target) bytes() ([]byte, error) {
	b, err := t.ID.AppendBytes(nil, t.Form)
	if err != nil {
		return nil, fmt.Errorf("a position of %s as bytes: %w", t.ID.Backend, ErrCannotRepair)
	}
	return notNil(b), nil
}

// Named tells offsets the backend that a stored position names: the log itself
// does not say whether RocksMQ or Kafka wrote it.
func (t Target) Named(stored ...message.Backend) Target {
	for _, b := range stored {
		if t.ID.Backend == message.BackendOffset && b.Offsets() {
			t.ID.Backend = b
		}
	}
	return t
}

// MovePositions moves the consume checkpoint and every flush position of the WAL
// that is lost to the target, which is the first that survives. TimeTicks
// stay: what a position promises to have seen does not change, only where reading
// goes on. A vchannel without a flush position gets one, since Milvus would fall
// back to positions in SegmentInfo or RootCoord that are as lost.
func MovePositions(md catalog.Metadata, flushed map[string]*msgpb.MsgPosition, to Target) ([]Edit, error) {
	const reason = "position-gone"
	var edits []Edit
	cp := md.Checkpoint
	if cp == nil {
		return nil, fmt.Errorf("move the checkpoint of %s: there is none: %w", md.PChannel, ErrCannotRepair)
	}
	if lost(cp.GetMessageId().GetId(), message.Backend(cp.GetMessageId().GetWALName()), to) {
		moved := proto.Clone(cp).(*streamingpb.WALCheckpoint)
		moved.MessageId = to.messageID()
		e, err := edit(catalog.CheckpointKey(md.PChannel), moved, KindMovePosition, reason)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	raw, err := to.bytes()
	if err != nil {
		return nil, err
	}
	for name, v := range md.VChannels {
		if v.GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED {
			continue
		}
		old := flushed[name]
		if catalog.ChannelDropped(old) {
			continue
		}
		moved := &msgpb.MsgPosition{ChannelName: name, Timestamp: max(to.TimeTick, 1) - 1, WALName: commonpb.WALName(to.ID.WALName())}
		if old != nil {
			if !lostBytes(old.GetMsgID(), message.Backend(old.GetWALName()), to) {
				continue
			}
			moved = proto.Clone(old).(*msgpb.MsgPosition)
		}
		moved.MsgID = raw
		e, err := edit(catalog.ChannelCheckpointKey(name), moved, KindMovePosition, reason)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	slices.SortFunc(edits, func(a, b Edit) int { return strings.Compare(a.Key, b.Key) })
	return edits, nil
}

// lost reads a stored position in its textual form.
func lost(raw string, b message.Backend, to Target) bool {
	if b == message.BackendUnknown {
		b = to.ID.Backend
	}
	id, _, err := message.ParseRaw(b, raw)
	return to.lost(id, err)
}

func lostBytes(raw []byte, b message.Backend, to Target) bool {
	if b == message.BackendUnknown {
		b = to.ID.Backend
	}
	id, _, err := message.ParseBytes(b, raw)
	return to.lost(id, err)
}

// Register adds a vchannel the catalog does not know, with what RootCoord says of
// its collection, as Milvus does when it opens a WAL for the first time: with
// TimeTick 0, so that every message of the log still counts.
func Register(pchannel, vchannel string, col *catalog.Collection) ([]Edit, error) {
	v, err := VChannelOf(vchannel, col)
	if err != nil {
		return nil, err
	}
	kv := map[string][]byte{}
	if err := catalog.EncodeVChannel(kv, pchannel, vchannel, v); err != nil {
		return nil, err
	}
	var edits []Edit
	for _, k := range catalog.Keys(kv) {
		edits = append(edits, Edit{Key: k, New: kv[k], Kind: KindRegister, Reason: "vchannel-missing"})
	}
	return edits, nil
}

// VChannelOf is a vchannel's metadata as RootCoord's collection tells it, its
// schema and partitions those of now. docs/rules.md#rootcoord-schema
func VChannelOf(vchannel string, col *catalog.Collection) (*streamingpb.VChannelMeta, error) {
	if col == nil || len(col.Schema.GetFields()) == 0 {
		return nil, fmt.Errorf("register %s: its schema is in neither log nor root-coord: %w", vchannel, ErrCannotRepair)
	}
	v := col.VChannel(vchannel)
	if v == nil {
		return nil, fmt.Errorf("register %s: collection %d has no such channel: %w", vchannel, col.Info.GetID(), ErrCannotRepair)
	}
	return v, nil
}

// RemoveOrphans deletes what a crash in the middle of a save left behind: schemas
// without their vchannel, dropped vchannels whose schemas are gone, and values of
// vchannels, schemas and segments nobody can read. A live vchannel without schema
// is not removed: Register or a rebuild gives it one. The caller keeps keys that
// another repair writes anew.
func RemoveOrphans(md catalog.Metadata, problems []catalog.Problem) []Edit {
	var edits []Edit
	for _, p := range problems {
		k := catalog.ParseKey(p.Key)
		switch p.Code {
		case catalog.CodeOrphanSchema:
			edits = append(edits, Edit{Key: p.Key, Kind: KindRemoveOrphans, Reason: p.Code})
		case catalog.CodeUndecodable:
			if k.Kind == catalog.KeyVChannel || k.Kind == catalog.KeySchema || k.Kind == catalog.KeySegment {
				edits = append(edits, Edit{Key: p.Key, Kind: KindRemoveOrphans, Reason: p.Code})
			}
		case catalog.CodeNoSchema:
			if md.VChannels[k.VChannel].GetState() == streamingpb.VChannelState_VCHANNEL_STATE_DROPPED {
				edits = append(edits, Edit{Key: p.Key, Kind: KindRemoveOrphans, Reason: p.Code})
			}
		}
	}
	return edits
}

// DropAlterWAL forgets a pending AlterWAL; the WAL goes on where it is.
func DropAlterWAL(md catalog.Metadata) ([]Edit, error) {
	if md.Checkpoint.GetAlterWalState() == nil {
		return nil, nil
	}
	cp := proto.Clone(md.Checkpoint).(*streamingpb.WALCheckpoint)
	cp.AlterWalState = nil
	e, err := edit(catalog.CheckpointKey(md.PChannel), cp, KindAlterWAL, "alter-wal-stale")
	return []Edit{e}, err
}

// FinishAlterWAL ends a pending AlterWAL whose data was flushed: the checkpoint
// and every flush position go to the beginning of the new WAL. While the stage is
// still FLUSHING the old WAL holds rows nobody else has, and it is refused.
func FinishAlterWAL(md catalog.Metadata, flushed map[string]*msgpb.MsgPosition) ([]Edit, error) {
	st := md.Checkpoint.GetAlterWalState()
	if st == nil {
		return nil, nil
	}
	if st.GetStage() != streamingpb.AlterWALStage_ADVANCE_CHECKPOINT {
		return nil, fmt.Errorf("finish the AlterWAL of %s at stage %s: the old WAL may hold rows that were never flushed: %w", md.PChannel, st.GetStage(), ErrCannotRepair)
	}
	to, err := beginning(message.Backend(st.GetTargetWalName()))
	if err != nil {
		return nil, err
	}
	raw, err := to.bytes()
	if err != nil {
		return nil, err
	}
	cp := proto.Clone(md.Checkpoint).(*streamingpb.WALCheckpoint)
	cp.AlterWalState, cp.MessageId = nil, to.messageID()
	cp.TimeTick = max(cp.TimeTick, st.GetTimeTick())
	e, err := edit(catalog.CheckpointKey(md.PChannel), cp, KindAlterWAL, "alter-wal-stale")
	edits := []Edit{e}
	for name := range md.VChannels {
		old := flushed[name]
		if err != nil || catalog.ChannelDropped(old) {
			continue
		}
		moved := &msgpb.MsgPosition{ChannelName: name}
		if old != nil {
			moved = proto.Clone(old).(*msgpb.MsgPosition)
		}
		moved.MsgID, moved.WALName = raw, commonpb.WALName(to.ID.Backend)
		moved.Timestamp = max(moved.Timestamp, st.GetTimeTick())
		e, err = edit(catalog.ChannelCheckpointKey(name), moved, KindAlterWAL, "alter-wal-stale")
		edits = append(edits, e)
	}
	return edits, err
}

func beginning(b message.Backend) (Target, error) {
	switch b {
	case message.BackendPulsar:
		return Target{ID: message.EarliestID()}, nil
	case message.BackendWoodpecker:
		return Target{ID: message.ID{Backend: b}}, nil
	}
	return Target{}, fmt.Errorf("where a WAL on %s begins: %w", b, ErrCannotRepair)
}

// TrailingSlash brings the singletons to one spelling: with the slash for 2.6.13
// to 2.6.15, without for every other version. Two spellings that disagree are an
// error, but for the version, where the higher holds.
func TrailingSlash(kv map[string][]byte, slashed bool) ([]Edit, error) {
	var edits []Edit
	for _, bare := range []string{catalog.ControlChannelKey, catalog.StreamingVersionKey} {
		want, other := bare, bare+"/"
		if slashed {
			want, other = other, want
		}
		stray, ok := kv[other]
		if !ok {
			continue
		}
		keep, both := kv[want]
		value, err := stray, error(nil)
		if both {
			value, err = agree(bare, keep, stray)
		}
		if err != nil {
			return nil, err
		}
		edits = append(edits,
			Edit{Key: want, New: notNil(value), Kind: KindTrailingSlash, Reason: catalog.CodeSlashedKey},
			Edit{Key: other, Kind: KindTrailingSlash, Reason: catalog.CodeSlashedKey})
	}
	return edits, nil
}

func agree(key string, a, b []byte) ([]byte, error) {
	if string(a) == string(b) {
		return a, nil
	}
	var va, vb streamingpb.StreamingVersion
	if key != catalog.StreamingVersionKey || proto.Unmarshal(a, &va) != nil || proto.Unmarshal(b, &vb) != nil {
		return nil, fmt.Errorf("%s and %s/ say different things, so neither is removed: %w", key, key, ErrCannotRepair)
	}
	if vb.GetVersion() > va.GetVersion() {
		return b, nil
	}
	return a, nil
}

func edit(key string, m proto.Message, kind Kind, reason string) (Edit, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Edit{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return Edit{Key: key, New: notNil(b), Kind: kind, Reason: reason}, nil
}
