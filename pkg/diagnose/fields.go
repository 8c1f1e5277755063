package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// SchemasFunc tells the schemas that the catalog has of a vchannel, as SchemasOf of
// catalog.Metadata does; nil = no catalog.
type SchemasFunc func(vchannel string) (known []catalog.KnownSchema, rootcoord bool)

// FieldWatch holds the fields that inserts carry against the newest schema their
// vchannel has in the log, and where the log has none yet, in the catalog. It is shown
// messages in log order, with properties and payloads; around a definition that is
// TimeTick order too. Memory is bounded by the live schemas. docs/rules.md#invariants 10.
type FieldWatch struct {
	by     map[string]*watchedSchema
	ask    SchemasFunc
	kept   map[string][]keptSchema // what ask said
	odd    map[oddKey]*oddField
	unread int64 // inserts whose payload or schema can't be read
	first  message.ID
	lost   bool // a schema may lack a field that the one before it had
}

type watchedSchema struct {
	now    map[int64]bool
	before map[int64]message.ID // a field that a schema dropped: the message that did
}

// keptSchema is one of the catalog's. RootCoord's is the newest there is: a definition
// met in the log after it was asked for says that it may not have been in force before.
type keptSchema struct {
	from      uint64
	rootcoord bool
	watchedSchema
}

type oddKey struct {
	vchannel string
	field    int64
}

type oddField struct {
	name        string
	first, last message.ID
	tick, rows  uint64
	count       int64
	dropped     message.ID  // zero = no schema of the log ever had it
	kept        *keptSchema // the catalog's that lacks it, nil = the log's
}

// maxOdd bounds what a hostile log can make it remember.
const maxOdd = 1 << 10

// NewFieldWatch returns one that has seen nothing of the log.
func NewFieldWatch(ask SchemasFunc) *FieldWatch {
	return &FieldWatch{by: map[string]*watchedSchema{}, odd: map[oddKey]*oddField{}, ask: ask, kept: map[string][]keptSchema{}}
}

// See takes the next message of the log.
func (w *FieldWatch) See(m *message.Message) {
	switch m.Type {
	case message.TypeCreateCollection, message.TypeAlterCollection, message.TypeSchemaChange:
		if !message.IsControlChannel(m.VChannel) && m.VChannel != "" {
			w.define(m)
		}
	case message.TypeDropCollection:
		delete(w.by, m.VChannel)
		w.kept[m.VChannel] = nil
	case message.TypeInsert:
		if m.Version > 0 {
			w.insert(m)
		}
	}
}

// Definitions takes the definitions among rows, and no insert: enough to tell
// whether a field was dropped.
func (w *FieldWatch) Definitions(c *message.Columns) {
	var rows []int
	for i, m := range c.Full {
		switch m.Type {
		case message.TypeCreateCollection, message.TypeAlterCollection, message.TypeSchemaChange, message.TypeDropCollection:
			rows = append(rows, i)
		}
	}
	slices.Sort(rows)
	for _, i := range rows {
		m := c.Full[i]
		w.lost = w.lost || m.Payload == nil && m.Type != message.TypeDropCollection
		w.See(m)
	}
}

// MayDrop reports whether a definition dropped a field, as far as can be told: one
// that cannot be read, or before which no schema is known, may have.
func (w *FieldWatch) MayDrop() bool { return w.lost }

// Watch takes every message of a reader; what can't be read is passed over.
func (w *FieldWatch) Watch(ctx context.Context, r source.Reader) error {
	for {
		m, err := r.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			w.See(m)
		case errors.Is(err, io.EOF), errors.Is(err, source.ErrTornTail):
			return nil
		case !errors.As(err, &corrupt):
			return err
		}
	}
}

// define takes the schema that a message brings; one that can't be read leaves the
// vchannel without any.
func (w *FieldWatch) define(m *message.Message) {
	schema, err := m.Schema()
	if err != nil {
		w.lost = true
		delete(w.by, m.VChannel)
		w.kept[m.VChannel] = nil
		return
	}
	s := w.by[m.VChannel]
	if schema == nil || s != nil && m.Type == message.TypeCreateCollection {
		return // no change of the schema, or the creation sent again
	}
	now := fieldIDs(schema)
	if s == nil {
		if len(w.by) >= maxLive {
			w.lost = true
			return
		}
		s = &watchedSchema{before: map[int64]message.ID{}}
		if k := w.keptAt(m.VChannel, m.TimeTick-1); k != nil && m.Type != message.TypeCreateCollection {
			if k.rootcoord {
				w.doubt(m.VChannel)
			} else {
				s.now = k.now
			}
		}
		w.by[m.VChannel] = s
		w.lost = w.lost || s.now == nil && m.Type != message.TypeCreateCollection
	}
	for id := range s.now {
		if !now[id] {
			s.before[id] = m.ID
			w.lost = true
		}
	}
	s.now = now
}

// keptAt is the catalog's schema of a vchannel that was in force at a TimeTick, nil
// where it has none from then.
func (w *FieldWatch) keptAt(vchannel string, tick uint64) *keptSchema {
	list, asked := w.kept[vchannel]
	if !asked && w.ask != nil && len(w.kept) < maxLive {
		known, rootcoord := w.ask(vchannel)
		for _, k := range known {
			list = append(list, keptSchema{k.TimeTick, rootcoord, watchedSchema{now: fieldIDs(k.Schema)}})
		}
		w.kept[vchannel] = list
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].from <= tick {
			return &list[i]
		}
	}
	return nil
}

// doubt takes back what was told by RootCoord's schema: the log changes it only now.
func (w *FieldWatch) doubt(vchannel string) {
	for k, o := range w.odd {
		if k.vchannel == vchannel && o.kept != nil && o.kept.rootcoord {
			if w.unread == 0 {
				w.first = o.first
			}
			w.unread += o.count
			delete(w.odd, k)
		}
	}
}

// maxLive bounds the vchannels a watch follows.
const maxLive = 1 << 16

func fieldIDs(s *schemapb.CollectionSchema) map[int64]bool {
	ids := make(map[int64]bool, len(s.GetFields()))
	for _, f := range s.GetFields() {
		ids[f.GetFieldID()] = true
	}
	for _, f := range s.GetStructArrayFields() {
		ids[f.GetFieldID()] = true
		for _, sub := range f.GetFields() {
			ids[sub.GetFieldID()] = true
		}
	}
	return ids
}

// userFields is the smallest id of a field that is no system field.
const userFields = 100

func (w *FieldWatch) insert(m *message.Message) {
	s := w.by[m.VChannel]
	var kept *keptSchema
	if s == nil {
		if kept = w.keptAt(m.VChannel, m.TimeTick); kept != nil {
			s = &kept.watchedSchema
		}
	}
	if s == nil || m.Payload == nil || m.Has(message.HasCipher) || m.Has(message.Chunked) {
		if w.unread++; w.unread == 1 {
			w.first = m.ID
		}
		return
	}
	message.Fields(m.Payload, nil, func(num protowire.Number, b []byte) bool {
		if num != 13 { // fields_data
			return true
		}
		id, name, dynamic := int64(0), "", false
		message.Fields(b, func(num protowire.Number, x uint64) {
			switch num {
			case 5:
				id = int64(x)
			case 6:
				dynamic = x != 0
			}
		}, func(num protowire.Number, b []byte) bool {
			if num == 2 {
				name = string(b[:min(len(b), 256)])
			}
			return true
		})
		if id >= userFields && !dynamic && !s.now[id] {
			w.tell(s, kept, m, id, name)
		}
		return true
	})
}

func (w *FieldWatch) tell(s *watchedSchema, kept *keptSchema, m *message.Message, id int64, name string) {
	k := oddKey{m.VChannel, id}
	o := w.odd[k]
	if o == nil {
		if len(w.odd) >= maxOdd {
			return
		}
		o = &oddField{name: name, first: m.ID, tick: m.TimeTick, dropped: s.before[id], kept: kept}
		w.odd[k] = o
	}
	o.last, o.rows, o.count = m.ID, o.rows+m.Rows, o.count+1
}

// Findings are one for each field and vchannel, in log order.
func (w *FieldWatch) Findings(o *VerifyOptions) []Finding {
	keys := make([]oddKey, 0, len(w.odd))
	for k := range w.odd {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b oddKey) int {
		return cmp.Or(w.odd[a].first.Compare(w.odd[b].first), cmp.Compare(a.vchannel, b.vchannel), cmp.Compare(a.field, b.field))
	})
	var out []Finding
	for _, k := range keys {
		x := w.odd[k]
		what := fmt.Sprintf("field %d %q, which no schema of the log has had", k.field, x.name)
		switch {
		case x.kept != nil && x.kept.rootcoord:
			what = fmt.Sprintf("field %d %q, which RootCoord's schema does not have", k.field, x.name)
		case x.kept != nil:
			what = fmt.Sprintf("field %d %q, which the vchannel's schema in the catalog does not have", k.field, x.name)
		case !x.dropped.IsZero():
			what = fmt.Sprintf("field %d %q, which the schema at %s dropped", k.field, x.name, x.dropped)
		}
		f := Found(insertFieldGone, Where{PChannel: o.PChannel, VChannel: k.vchannel, ID: x.first.String(), TimeTick: x.tick},
			Evidence{"what", what}, Evidence{"messages", strconv.FormatInt(x.count, 10)}, Evidence{"rows", strconv.FormatUint(x.rows, 10)})
		f.Count = x.count
		if x.count > 1 {
			f.Where.To = x.last.String()
		}
		if o.WAL != "" {
			f.Next = next(insertFieldGone, o.WAL, f.Where.ID, true)
		}
		out = append(out, f)
	}
	return out
}

// AddFields adds to a report what the fields of the log's inserts told. A watch that is
// nil saw no payload at all: why says so.
func (r *VerifyReport) AddFields(w *FieldWatch, o VerifyOptions, why string) {
	if w != nil {
		found := w.Findings(&o)
		if len(found) > 0 {
			r.breaks(insertFieldGone.Invariant)
		}
		at := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Severity < SeverityError })
		if at < 0 {
			at = len(r.Findings)
		}
		r.Findings = slices.Insert(r.Findings, at, found...)
		if w.unread == 0 {
			return
		}
		why = fmt.Sprintf("the fields of %d inserts: the log does not hold their payload, or neither log nor catalog tells the schema of their vchannel (inspect --records --data exports payloads)", w.unread)
	}
	if why == "" {
		return
	}
	f := NotChecked(o.PChannel, why)
	if w != nil {
		f.Where.ID = w.first.String()
	}
	r.Findings = append(r.Findings, f)
}

// breaks marks an invariant as broken.
func (r *VerifyReport) breaks(n int) {
	i := &r.Invariants[n-1]
	switch i.Status {
	case statusHold:
		r.Hold--
	case statusUnchecked:
		r.Unchecked--
	default:
		return
	}
	i.Status, i.Why = statusBroken, ""
	r.Broken++
}

var insertFieldGone = &Check{
	Code: "insert-field-not-in-schema", Severity: SeverityError, Invariant: 10, Needs: check.NeedPayload,
	Title:   "an insert carries a field that its schema does not have",
	Meaning: "A node that loads the growing segment by the newest schema panics on it (\"unexpected new field in growing segment\") in releases of 2.6 before the fix of milvus#51137, and again after each restart until the segment is flushed; later ones pass over the field's values.",
	Cause:   "The field was dropped while a proxy still wrote by the older schema: 2.6 refuses no such insert, 3.0 does by its schema version.",
	Do:      "Start a version with the fix. salvage keeps the field's values under its id.",
	Threads: []string{"milvus#51117", "milvus#51137", "milvus#50364", "milvus#51835", "milvus#51436"},
}
