package salvage

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// ttlProperty is the collection property that hides rows by age.
const ttlProperty = "collection.ttl.seconds"

// collection is what log and catalog tell of one collection.
type collection struct {
	id         int64
	tick       uint64 // of its newest schema
	newest     *schemapb.CollectionSchema
	fields     map[int64]rows.Former // of every schema seen, dropped ones too
	carried    map[int64]bool        // fields that payloads carry
	partitions map[int64]string
	ttl        int64
	dropped    bool

	schema    *rows.Schema // newest, made ready
	schemaErr error
}

type collections map[int64]*collection

func (cs collections) get(id int64) *collection {
	c := cs[id]
	if c == nil {
		c = &collection{id: id, partitions: map[int64]string{}, fields: map[int64]rows.Former{}, carried: map[int64]bool{}}
		cs[id] = c
	}
	return c
}

// learn takes a schema; the newest one counts, of two as new the later learned.
func (c *collection) learn(s *schemapb.CollectionSchema, tick uint64) {
	if s == nil || len(s.GetFields()) == 0 {
		return
	}
	for _, f := range s.GetFields() {
		c.fields[f.GetFieldID()] = rows.Former{Field: f}
	}
	for _, a := range s.GetStructArrayFields() {
		for _, f := range a.GetFields() {
			c.fields[f.GetFieldID()] = rows.Former{Field: f, Struct: a.GetName(), StructID: a.GetFieldID()}
		}
	}
	if c.newest == nil || tick >= c.tick {
		c.newest, c.tick = s, tick
		c.properties(s.GetProperties())
	}
}

func (c *collection) properties(ps []*commonpb.KeyValuePair) {
	for _, p := range ps {
		if p.GetKey() == ttlProperty {
			c.ttl, _ = strconv.ParseInt(p.GetValue(), 10, 64)
		}
	}
}

// ready prepares the newest schemas for decoding.
func (cs collections) ready() {
	for _, c := range cs {
		if c.newest != nil {
			c.schema, c.schemaErr = rows.NewSchema(c.newest)
		}
		if c.schema != nil {
			c.schema.AddDropped(c.former())
		}
	}
}

// carries learns which fields the payload of an Insert carries. What no schema
// tells of a field, the payload does.
func (c *collection) carries(payload []byte) {
	rows.EachField(payload, func(id int64, data []byte) {
		if c.carried[id] || len(c.carried) > 2*rows.MaxDropped {
			return
		}
		c.carried[id] = true
		d := &schemapb.FieldData{}
		if _, known := c.fields[id]; known || proto.Unmarshal(data, d) != nil {
			return
		}
		f := &schemapb.FieldSchema{FieldID: id, Name: d.GetFieldName(), DataType: d.GetType(), ElementType: d.GetScalars().GetArrayData().GetElementType()}
		if v := d.GetVectors(); v != nil {
			f.TypeParams = []*commonpb.KeyValuePair{{Key: "dim", Value: strconv.FormatInt(v.GetDim(), 10)}}
			if a := v.GetVectorArray(); a != nil {
				f.ElementType = a.GetElementType()
			}
		}
		c.fields[id] = rows.Former{Field: f}
	})
}

// former lists the fields that rows carry and the newest schema no longer has.
func (c *collection) former() (out []rows.Former) {
	for id := range c.carried {
		if f, known := c.fields[id]; known && c.schema.Field(id) == nil {
			out = append(out, f)
		}
	}
	return out
}

// ddl learns from a message of the log, whether or not a reader gets it.
func (cs collections) ddl(m *message.Message, tick uint64) {
	learn := definitionOf(m.Type)
	if learn == nil {
		return
	}
	id := m.Collection
	if id == 0 {
		if id = message.CollectionIDOf(m.VChannel); id < 0 {
			return
		}
	}
	learn(cs, id, m, tick)
}

// definitionOf returns what is learned of a collection from a type, nil for types
// that tell nothing.
func definitionOf(t message.Type) func(cs collections, id int64, m *message.Message, tick uint64) {
	switch t {
	case message.TypeCreateCollection:
		return func(cs collections, id int64, m *message.Message, tick uint64) {
			cs.schema(id, m, tick)
			if b, err := message.BodyAs[*msgpb.CreateCollectionRequest](m); err == nil {
				cs.get(id).created(b)
			}
		}
	case message.TypeSchemaChange:
		return collections.schema
	case message.TypeAlterCollection:
		return func(cs collections, id int64, m *message.Message, tick uint64) {
			cs.schema(id, m, tick)
			if b, err := message.BodyAs[*messagespb.AlterCollectionMessageBody](m); err == nil {
				cs.get(id).properties(b.GetUpdates().GetProperties())
			}
		}
	case message.TypeCreatePartition:
		return func(cs collections, id int64, m *message.Message, _ uint64) {
			if b, err := message.BodyAs[*msgpb.CreatePartitionRequest](m); err == nil && b.GetPartitionName() != "" {
				cs.get(id).partitions[m.Partition] = b.GetPartitionName()
			}
		}
	}
	return nil
}

func (cs collections) schema(id int64, m *message.Message, tick uint64) {
	if s, err := m.Schema(); err == nil {
		cs.get(id).learn(s, tick)
	}
}

func (c *collection) created(b *msgpb.CreateCollectionRequest) {
	if b.GetPartitionName() != "" && b.GetPartitionID() != 0 {
		c.partitions[b.GetPartitionID()] = b.GetPartitionName()
	}
	for i, name := range b.GetPartitionNames() {
		if i < len(b.GetPartitionIDs()) {
			c.partitions[b.GetPartitionIDs()[i]] = name
		}
	}
}

// wanted resolves the collections asked for to ids; nil = all are.
func (cs collections) wanted(names []string) (map[int64]bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	out := map[int64]bool{}
	for _, n := range names {
		if id, err := strconv.ParseInt(n, 10, 64); err == nil {
			out[id] = true
			continue
		}
		found := false
		for id, c := range cs {
			if c.newest.GetName() == n {
				out[id], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%w: %q; known are %s", ErrNoCollection, n, cs.names())
		}
	}
	return out, nil
}

// names lists what could have been asked for, shortened.
func (cs collections) names() string {
	var all []string
	for _, c := range cs {
		if n := c.newest.GetName(); n != "" {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	const most = 20
	if len(all) > most {
		return fmt.Sprintf("%q and %d more", all[:most], len(all)-most)
	}
	return fmt.Sprintf("%q", all)
}
