package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// positions holds a plan that moves one stored position to moving all that are
// concerned. A WAL's position stands in five places: the consume checkpoint,
// DataCoord's flush positions, RootCoord's start positions, SegmentInfo's, and
// (in another cluster's log) the replicate checkpoint. After the plan, each that
// Milvus would read must lie in what survives of the log; those only RootCoord or
// DataCoord may write are covered once the vchannel has a flush position, which
// is read before them.
func (in *Input) positions(changes []Change, after map[string][]byte) []string {
	if in.Log.First.IsZero() || !slices.ContainsFunc(changes, movesPosition) {
		return nil
	}
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == KindAlterWAL }) {
		return nil // they go to another log, all at once
	}
	var against []string
	tell := func(key, format string, args ...any) {
		against = append(against, "position left behind: "+key+": "+fmt.Sprintf(format, args...))
	}
	cp := &streamingpb.WALCheckpoint{}
	if b, ok := after[catalog.CheckpointKey(in.PChannel)]; ok && proto.Unmarshal(b, cp) == nil {
		id := cp.GetMessageId()
		if what := in.judge(message.ParseRaw(in.backend(int32(id.GetWALName())), id.GetId())); what != "" {
			tell(catalog.CheckpointKey(in.PChannel), "%s", what)
		}
	}
	for _, pos := range in.Positions {
		if pos.Foreign || pos.VChannel == "" || pos.TimeTick == math.MaxUint64 {
			continue
		}
		if what := in.flushPosition(pos, after); what != "" {
			tell(pos.Key, "%s", what)
		}
	}
	slices.Sort(against)
	return slices.Compact(against)
}

// flushPosition judges what Milvus would start a vchannel's flusher from.
func (in *Input) flushPosition(pos catalog.Position, after map[string][]byte) string {
	b, ok := after[catalog.ChannelCheckpointKey(pos.VChannel)]
	if ok {
		m := &msgpb.MsgPosition{}
		if proto.Unmarshal(b, m) != nil || catalog.ChannelDropped(m) {
			return ""
		}
		return in.judge(message.ParseBytes(in.backend(int32(m.GetWALName())), m.GetMsgID()))
	}
	if pos.Place == catalog.PlaceStart && !strings.HasPrefix(pos.VChannel, in.PChannel+"_") {
		return "" // named by pchannel: which of its vchannels fall back to it is told by their own
	}
	if pos.Err != nil {
		return pos.Err.Error()
	}
	if pos.HasID {
		return in.judge(pos.ID, message.Form{}, nil)
	}
	return ""
}

func (in *Input) backend(walName int32) message.Backend {
	if walName == 0 {
		return in.Log.First.Backend
	}
	return message.Backend(walName)
}

func (in *Input) judge(id message.ID, _ message.Form, err error) string {
	if err != nil {
		return err.Error()
	}
	return stands(in.Log, id)
}

// stands says why a position does not stand in a log; "" where it does, or names none.
func stands(b source.Bounds, id message.ID) string {
	switch at := b.Standing(id); {
	case at == source.OtherWAL:
		return fmt.Sprintf("%s is a position on %s, the log lies on %s", id, id.Backend, b.First.Backend)
	case at == source.BeforeFirst:
		return fmt.Sprintf("%s no longer exists, the log begins at %s", id, b.First)
	case at == source.EmptyLog:
		return fmt.Sprintf("%s no longer exists, the log is empty", id)
	case at == source.BehindEnd && !b.Last.IsZero():
		return fmt.Sprintf("%s lies beyond the end of the log, %s", id, b.Last)
	}
	return ""
}

// movesPosition reports whether a change sets where reading begins.
func movesPosition(c Change) bool {
	switch catalog.ParseKey(c.Key).Kind {
	case catalog.KeyChannelCheckpoint:
		return true
	case catalog.KeyCheckpoint:
		var before, after streamingpb.WALCheckpoint
		if proto.Unmarshal(c.Old, &before) != nil || proto.Unmarshal(c.New, &after) != nil {
			return true
		}
		return !proto.Equal(before.GetMessageId(), after.GetMessageId())
	}
	return false
}
