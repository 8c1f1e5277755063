package repair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// history is what the log says of one vchannel's schemas, in TimeTick order.
type history struct {
	created bool // its CreateCollection is in the log
	dropped bool // and so is its DropCollection, behind it
	schemas []*streamingpb.CollectionSchemaOfVChannel
}

func newSchema(s *schemapb.CollectionSchema, tick uint64) *streamingpb.CollectionSchemaOfVChannel {
	return &streamingpb.CollectionSchemaOfVChannel{Schema: s, CheckpointTimeTick: tick, State: streamingpb.VChannelSchemaState_VCHANNEL_SCHEMA_STATE_NORMAL}
}

// histories reads the whole log, before the checkpoint too, for the schemas of the
// vchannels named. What cannot be decoded tells nothing.
func histories(ctx context.Context, src source.Source, vchannels map[string]bool) (map[string]*history, error) {
	out := map[string]*history{}
	rd, err := src.Open(ctx, source.Range{Payload: source.PayloadDDL})
	if err != nil {
		return nil, fmt.Errorf("look for schemas in the log: %w", err)
	}
	defer func() { _ = rd.Close() }() // only read
	scan := order.NewScanner(&past{rd}, order.Options{})
	for flushed := false; ; {
		d, err := scan.Next(ctx)
		switch {
		case err == nil:
			for _, m := range append([]*message.Message{d.Message}, d.Body...) {
				if vchannels[m.VChannel] {
					remember(out, m, d.TimeTick)
				}
			}
		case !errors.Is(err, io.EOF) && !errors.Is(err, source.ErrTornTail):
			return nil, fmt.Errorf("look for schemas in the log: %w", err)
		case flushed:
			return out, nil
		default:
			flushed = true // what the next opening confirms counts as well
			scan.Flush()
		}
	}
}

// past is a reader that goes on after what cannot be read.
type past struct{ source.Reader }

func (p *past) Next(ctx context.Context) (*message.Message, error) {
	for {
		m, err := p.Reader.Next(ctx)
		var corrupt *source.CorruptError
		if !errors.As(err, &corrupt) {
			return m, err
		}
	}
}

func remember(out map[string]*history, m *message.Message, tick uint64) {
	switch m.Type {
	case message.TypeCreateCollection, message.TypeSchemaChange:
	case message.TypeAlterCollection:
		h, err := message.HeaderAs[*messagespb.AlterCollectionMessageHeader](m)
		if err != nil || !slices.Contains(h.GetUpdateMask().GetPaths(), "schema") {
			return
		}
	case message.TypeDropCollection:
		if h := out[m.VChannel]; h != nil {
			h.dropped = true
		}
		return
	default:
		return
	}
	schema, err := m.Schema()
	if err != nil || len(schema.GetFields()) == 0 {
		return
	}
	h := out[m.VChannel]
	if h == nil {
		h = &history{}
		out[m.VChannel] = h
	}
	if n := len(h.schemas); n > 0 && h.schemas[n-1].CheckpointTimeTick >= tick {
		return // an append that was tried again, or a broadcast sent again
	}
	create := m.Type == message.TypeCreateCollection
	if create && h.created {
		return
	}
	h.created = h.created || create
	h.schemas = append(h.schemas, newSchema(schema, tick))
}

// upTo are the schemas a replay from the checkpoint does not add by itself: those
// up to its TimeTick, and what a CreateCollection brings, which a replay passes
// over where the vchannel stands already.
func (h *history) upTo(tick uint64) []*streamingpb.CollectionSchemaOfVChannel {
	var out []*streamingpb.CollectionSchemaOfVChannel
	for i, s := range h.schemas {
		if s.CheckpointTimeTick <= tick || i == 0 && h.created {
			out = append(out, s)
		}
	}
	return out
}

// schemasOf puts together the schemas of a vchannel that has none: from the log,
// from what the catalog has (catalog.Metadata.SchemasOf). It says where they come
// from; "" where nobody knows.
func schemasOf(h *history, kept []catalog.KnownSchema, rootcoord bool, tick uint64) ([]*streamingpb.CollectionSchemaOfVChannel, string) {
	var out []*streamingpb.CollectionSchemaOfVChannel
	for _, k := range kept {
		out = append(out, newSchema(k.Schema, k.TimeTick))
	}
	switch {
	case h != nil && h.created:
		return h.upTo(tick), "the log"
	case len(kept) > 0 && !rootcoord:
		if h != nil {
			newest := kept[len(kept)-1].TimeTick
			for _, s := range h.upTo(tick) {
				if s.CheckpointTimeTick > newest {
					out = append(out, s)
				}
			}
		}
		return out, "its own value"
	case h != nil && len(h.schemas) > 0:
		// The first one known stands for what was before it: rows of then have no other.
		return append([]*streamingpb.CollectionSchemaOfVChannel{newSchema(h.schemas[0].GetSchema(), 0)}, h.upTo(tick)...), "the log"
	case len(kept) > 0:
		return out, "root-coord"
	}
	return nil, ""
}
