package recovery

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

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
	c, err := s.changes(false)
	if err != nil {
		return Changes{}, err
	}
	c.Deletes = sortedKeys(c.deletes)
	return c.Changes, nil
}

func (s *State) changes(given bool) (*changes, error) {
	c := &changes{Changes: Changes{Puts: make(map[string][]byte, len(s.all))}, deletes: make(map[string]bool), given: given}
	for _, g := range s.all {
		if err := c.segment(s, g); err != nil {
			return nil, err
		}
	}
	return c, c.beside(s)
}

// segment writes a segment that changed, and takes out one that was flushed.
func (c *changes) segment(s *State, g *segment) error {
	switch {
	case !g.dirty:
		return nil
	case flushed(g):
		c.delete(s.kv, catalog.SegmentKey(s.pchannel, g.id))
		return nil
	}
	key := c.keys.keep(catalog.SegmentKey(s.pchannel, g.id))
	if err := c.put(key, g.meta); err != nil {
		return err
	}
	if b := c.Puts[key]; c.given && len(b) > 0 {
		g.encoded = &b[0]
	}
	return nil
}

// beside writes everything but the segments.
func (c *changes) beside(s *State) error {
	s.settle()
	for _, name := range sortedKeys(s.vchannels) {
		if v := s.vchannels[name]; v.dirty {
			if err := c.vchannel(s, name, v); err != nil {
				return err
			}
		}
	}
	for cluster, cp := range s.salvage {
		if err := c.put(catalog.SalvageKey(s.pchannel, cluster), cp); err != nil {
			return err
		}
	}
	if !s.changed {
		return nil
	}
	return c.put(catalog.CheckpointKey(s.pchannel), s.Checkpoint())
}

// Persist returns the pchannel's keys as a graceful persist leaves them: those
// of the catalog, byte for byte, but for Dirty. Who asks again before the next
// delivery gets the same map: nobody changes it.
func (s *State) Persist() (map[string][]byte, error) {
	if s.persisted != nil {
		return s.persisted, nil
	}
	c, err := s.changes(true)
	if err != nil {
		return nil, err
	}
	out := c.Puts
	for k, v := range s.kv {
		if _, put := out[k]; !put && !c.deletes[k] {
			out[k] = v
		}
	}
	s.persisted = out
	return out, nil
}

// Differences counts the keys that Persist of another state, a Clone of this one that
// went on, leaves otherwise than Persist of this one.
func (s *State) Differences(of *State) (int, error) {
	before, err := s.apart(of)
	if err != nil {
		return 0, err
	}
	after, err := of.apart(s)
	if err != nil {
		return 0, err
	}
	keys := before.touched()
	maps.Copy(keys, after.touched())
	n := 0
	for key := range keys {
		was, had := before.leaves(s.kv, key)
		is, has := after.leaves(of.kv, key)
		if had != has || !bytes.Equal(was, is) {
			n++
		}
	}
	return n, nil
}

// apart is Dirty without the segments that stand in both states alike.
func (s *State) apart(from *State) (*changes, error) {
	c := &changes{Changes: Changes{Puts: map[string][]byte{}}, deletes: map[string]bool{}}
	if s.segments != from.segments {
		for id, g := range s.all {
			if x := from.all[id]; x != nil && x.meta == g.meta && x.dirty == g.dirty {
				continue
			}
			if err := c.segment(s, g); err != nil {
				return nil, err
			}
		}
	}
	return c, c.beside(s)
}

// leaves is a key's value over the catalog kv once the changes are written.
func (c *changes) leaves(kv map[string][]byte, key string) ([]byte, bool) {
	if v, ok := c.Puts[key]; ok {
		return v, true
	}
	if c.deletes[key] {
		return nil, false
	}
	v, ok := kv[key]
	return v, ok
}

// touched are the keys that are written or taken out.
func (c *changes) touched() map[string]bool {
	out := maps.Clone(c.deletes)
	for k := range c.Puts {
		out[k] = true
	}
	return out
}

type changes struct {
	Changes
	deletes map[string]bool
	given   bool   // it becomes what Persist gives
	room    []byte // where the next values go: a million of them in pieces of their own burden the collector
	keys    keyRoom
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
	opts := proto.MarshalOptions{Deterministic: true}
	if n := opts.Size(m); cap(c.room)-len(c.room) < n {
		c.room = make([]byte, 0, max(n, roomSize))
	}
	from := len(c.room)
	all, err := opts.MarshalAppend(c.room, m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	c.room = all
	c.Puts[key] = all[from:len(all):len(all)]
	return nil
}

// roomSize is how many bytes of keys or values are kept in one piece.
const roomSize = 32 << 10

// keyRoom keeps many keys in one piece.
type keyRoom struct{ strings.Builder }

func (r *keyRoom) keep(key string) string {
	if r.Cap()-r.Len() < len(key) {
		r.Builder = strings.Builder{}
		r.Grow(max(len(key), roomSize))
	}
	from := r.Len()
	r.WriteString(key)
	return r.String()[from:] // never reallocated: there was room
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
