package recovery

import (
	"fmt"
	"maps"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// Changes is what a graceful persist writes: keys relative to the metadata root.
type Changes struct {
	Puts    map[string][]byte
	Deletes []string // in key order; only keys the catalog has
}

// Dirty returns what a graceful persist would write now. docs/rules.md#persist
func (s *State) Dirty() (Changes, error) {
	s.settle()
	c := changes{Changes: Changes{Puts: make(map[string][]byte)}, deletes: make(map[string]bool)}
	for _, name := range sortedKeys(s.vchannels) {
		if v := s.vchannels[name]; v.dirty {
			if err := c.vchannel(s, name, v); err != nil {
				return Changes{}, err
			}
		}
	}
	for _, id := range sortedKeys(s.segments) {
		g := s.segments[id]
		switch {
		case !g.dirty:
		case flushed(g):
			c.delete(s.kv, catalog.SegmentKey(s.pchannel, id))
		default:
			if err := c.put(catalog.SegmentKey(s.pchannel, id), g.meta); err != nil {
				return Changes{}, err
			}
		}
	}
	for cluster, cp := range s.salvage {
		if err := c.put(catalog.SalvageKey(s.pchannel, cluster), cp); err != nil {
			return Changes{}, err
		}
	}
	if s.changed {
		if err := c.put(catalog.CheckpointKey(s.pchannel), s.Checkpoint()); err != nil {
			return Changes{}, err
		}
	}
	c.Deletes = sortedKeys(c.deletes)
	return c.Changes, nil
}

// Persist returns the pchannel's keys as a graceful persist leaves them: those
// of the catalog, byte for byte, but for Dirty.
func (s *State) Persist() (map[string][]byte, error) {
	c, err := s.Dirty()
	if err != nil {
		return nil, err
	}
	out := maps.Clone(s.kv)
	if out == nil {
		out = make(map[string][]byte, len(c.Puts))
	}
	for _, k := range c.Deletes {
		delete(out, k)
	}
	maps.Copy(out, c.Puts)
	return out, nil
}

type changes struct {
	Changes
	deletes map[string]bool
	schemas map[string][]string // the catalog's schema keys by vchannel; nil = not looked yet
}

// schemasOf lists a vchannel's schema keys in the catalog.
func (c *changes) schemasOf(s *State, name string) []string {
	if c.schemas == nil {
		c.schemas = make(map[string][]string)
		for key := range s.kv {
			if k := catalog.ParseKey(key); k.Kind == catalog.KeySchema {
				at := catalog.VChannelKey(k.PChannel, k.VChannel)
				c.schemas[at] = append(c.schemas[at], key)
			}
		}
	}
	return c.schemas[catalog.VChannelKey(s.pchannel, name)]
}

func (c *changes) put(key string, m proto.Message) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	c.Puts[key] = b
	return nil
}

func (c *changes) delete(kv map[string][]byte, key string) {
	if _, ok := kv[key]; ok {
		c.deletes[key] = true
	}
}

// vchannel writes a vchannel and the schemas the catalog lacks. A dropped one
// takes its schemas with it; a dropped schema takes its key.
func (c *changes) vchannel(s *State, name string, v *vchannel) error {
	if dropped(v) {
		c.delete(s.kv, catalog.VChannelKey(s.pchannel, name))
		for _, key := range c.schemasOf(s, name) {
			c.deletes[key] = true
		}
		return nil
	}
	out := *v
	out.meta = proto.Clone(v.meta).(*streamingpb.VChannelMeta)
	all := out.meta.CollectionInfo.Schemas
	out.meta.CollectionInfo.Schemas = nil
	for i, schema := range all {
		key := catalog.SchemaKey(s.pchannel, name, schema.GetCheckpointTimeTick())
		switch {
		case schema.GetState() == streamingpb.VChannelSchemaState_VCHANNEL_SCHEMA_STATE_DROPPED:
			c.delete(s.kv, key)
		case i >= v.schemas:
			if err := c.put(key, schema); err != nil {
				return err
			}
		}
	}
	return c.put(catalog.VChannelKey(s.pchannel, name), out.meta)
}
