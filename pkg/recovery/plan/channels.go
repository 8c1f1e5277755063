package plan

import (
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// KindUnregister takes away a registration that should not be: of a dropped
// collection, or under a pchannel the vchannel does not lie on.
const KindUnregister Kind = "unregister-channel"

// channelKeys lists the keys that belong to one vchannel's registration below
// one pchannel: its own, its schemas', its segments'.
func channelKeys(md catalog.Metadata, vchannel string) []string {
	var keys []string
	for _, key := range catalog.Keys(md.KV) {
		k := catalog.ParseKey(key)
		mine := (k.Kind == catalog.KeyVChannel || k.Kind == catalog.KeySchema) && k.VChannel == vchannel
		if k.Kind == catalog.KeySegment {
			mine = md.Segments[k.Segment].GetVchannel() == vchannel
		}
		if mine {
			keys = append(keys, key)
		}
	}
	return keys
}

// Unregister removes a vchannel's registration from one pchannel: its key, its
// schemas and the assignments of its segments, whose rows blast counts.
func Unregister(md catalog.Metadata, vchannel, reason string) (edits []Edit, blast Blast) {
	blast.VChannel = vchannel
	for _, key := range channelKeys(md, vchannel) {
		edits = append(edits, Edit{Key: key, Kind: KindUnregister, Reason: reason})
		if k := catalog.ParseKey(key); k.Kind == catalog.KeySegment {
			blast.Rows += int64(md.Segments[k.Segment].GetStat().GetModifiedRows())
		}
	}
	return edits, blast
}

// MoveRegistration brings a registration, byte for byte, from the pchannel it
// stands under to the one the vchannel lies on.
func MoveRegistration(from catalog.Metadata, to, vchannel, reason string) ([]Edit, error) {
	keys := channelKeys(from, vchannel)
	if len(from.VChannels[vchannel].GetCollectionInfo().GetSchemas()) == 0 {
		return nil, fmt.Errorf("move the registration of %s from %s: it has no schema there: %w", vchannel, from.PChannel, ErrCannotRepair)
	}
	var edits []Edit
	for _, key := range keys {
		edits = append(edits,
			Edit{Key: catalog.WALPrefix(to) + strings.TrimPrefix(key, catalog.WALPrefix(from.PChannel)), New: notNil(from.KV[key]), Kind: KindRegister, Reason: reason},
			Edit{Key: key, Kind: KindUnregister, Reason: reason})
	}
	return edits, nil
}

// SurvivingCheckpoint moves one vchannel's flush position to the target where it
// lies before it, so that a vchannel registered again can be read from it. It
// returns no edit where the position survives, is none, or marks a dropped channel.
func SurvivingCheckpoint(vchannel string, old *msgpb.MsgPosition, to Target) ([]Edit, error) {
	if old == nil || catalog.ChannelDropped(old) || !lostBytes(old.GetMsgID(), to.ID.Backend, to) {
		return nil, nil
	}
	raw, err := to.bytes()
	if err != nil {
		return nil, err
	}
	moved := proto.Clone(old).(*msgpb.MsgPosition)
	moved.MsgID = raw
	e, err := edit(catalog.ChannelCheckpointKey(vchannel), moved, KindMovePosition, "position-gone")
	return []Edit{e}, err
}
