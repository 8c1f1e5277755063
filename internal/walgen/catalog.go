package walgen

import (
	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// CatalogBefore returns the metadata as it stands after the log's first
// opening: the key of the consume checkpoint and the pchannel's assignment,
// relative to the metadata root. Replaying the log on it reaches the whole state.
func (g *Generator) CatalogBefore() map[string][]byte {
	p := g.cfg.PChannel
	return map[string][]byte{
		"streamingnode-meta/wal/" + p + "/consume-checkpoint": marshal(&streamingpb.WALCheckpoint{
			MessageId: &commonpb.MessageID{Id: g.first.id.Raw(g.pos.form), WALName: g.walName()}, TimeTick: g.first.tt, RecoveryMagic: 1,
		}),
		"streamingcoord-meta/pchannel/" + p: g.assignment(),
	}
}

func (g *Generator) walName() commonpb.WALName {
	if g.cfg.Backend == message.BackendOffset {
		return commonpb.WALName_RocksMQ
	}
	return commonpb.WALName(g.cfg.Backend)
}

// PChannel returns the name of the log's pchannel.
func (g *Generator) PChannel() string { return g.cfg.PChannel }
