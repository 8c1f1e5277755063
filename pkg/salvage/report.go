package salvage

import (
	"fmt"
	"maps"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/rows"
)

// Reason says why a row was read but not brought out. It is part of the JSON
// contract (docs/salvage.md#counts).
type Reason string

// The reasons. What a scanner drops has the words of order.Reason.
const (
	Filtered          Reason = "filtered"
	Deleted           Reason = "deleted"
	CollectionDropped Reason = "collection dropped"
	PartitionDropped  Reason = "partition dropped"
	Truncated         Reason = "truncated"
	DuplicateAppend   Reason = "duplicate append" // the same append stands in the log twice
	OpenTransaction   Reason = "open transaction"
	Unconfirmed       Reason = "unconfirmed tail"
	BehindUntil       Reason = "behind until"
	Encrypted         Reason = "encrypted"
	Undecodable       Reason = "undecodable"
	NoSchema          Reason = "no schema"
	NoPayload         Reason = "no payload"     // this copy of the log was made without
	Delivered         Reason = "delivered"      // only with LostOnly: a reader gets it
	InsertedAgain     Reason = "inserted again" // only with LostOnly
)

// Counts is a number of rows for each reason.
type Counts map[Reason]int64

// Report is what a run brought out and what not, and why.
type Report struct {
	RowsIn      int64               `json:"rows_in"` // of the Inserts read, by their headers
	RowsOut     int64               `json:"rows_out"`
	NotOut      Counts              `json:"not_out"`
	Bytes       int64               `json:"payload_bytes"` // of the Inserts decoded
	Collections []*CollectionReport `json:"collections"`
	Deletes     DeleteReport        `json:"deletes"`
	Failures    []Failure           `json:"not_decodable"` // messages; the first thousand
	FailedRows  int64               `json:"not_decodable_rows"`
	Coverage    Coverage            `json:"coverage"`
	// Missing says why an archive does not hold its whole log; "" = it does.
	Missing string   `json:"archive_not_whole,omitempty"`
	Notes   []string `json:"notes"`
}

// CollectionReport is a Report's share of one collection.
type CollectionReport struct {
	Collection int64            `json:"collection"`
	Name       string           `json:"name,omitempty"`
	Database   string           `json:"database,omitempty"`
	RowsIn     int64            `json:"rows_in"`
	RowsOut    int64            `json:"rows_out"`
	NotOut     Counts           `json:"not_out"`
	Partitions map[int64]string `json:"partitions,omitempty"` // names, where known
	Dropped    bool             `json:"dropped,omitempty"`
	// TTLSeconds hides older rows in Milvus; salvage does not apply it. 0 = none.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
	// FieldsDropped are fields the collection no longer has, of rows brought out.
	FieldsDropped []DroppedField `json:"fields_dropped,omitempty"`
	// LeftOut are fields that an import of the files does not bring back, and why.
	LeftOut     []string `json:"fields_left_out,omitempty"`
	NotImported []string `json:"fields_import_refuses,omitempty"`
	Files       []string `json:"files,omitempty"`
}

// DroppedField is a field that rows carry and their collection no longer has.
type DroppedField struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	As   string `json:"as"` // what it is called among the rows brought out
	Rows int64  `json:"rows"`
}

// DeleteReport counts the deletes that were honoured, and those that could not be.
type DeleteReport struct {
	Messages int64 `json:"messages"`
	Keys     int64 `json:"keys"`
	// Unscoped named no partition at all (0), read as all of them.
	Unscoped int64 `json:"without_partition,omitempty"`
	// Predicates are deletes by an expression without keys: nothing tells the rows.
	Predicates  int64 `json:"by_expression,omitempty"`
	Encrypted   int64 `json:"encrypted,omitempty"`
	Undecodable int64 `json:"undecodable,omitempty"`
	NoPayload   int64 `json:"no_payload,omitempty"`
}

// Failure is an Insert or Delete that could not be decoded.
type Failure struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	VChannel   string `json:"vchannel,omitempty"`
	Collection int64  `json:"collection,omitempty"`
	TimeTick   uint64 `json:"tt,omitempty"`
	Rows       uint64 `json:"rows"`
	Reason     Reason `json:"reason"`
	Cause      string `json:"cause"`
}

// Coverage is what was read.
type Coverage struct {
	First    string `json:"first,omitempty"` // ids
	Last     string `json:"last,omitempty"`
	Records  int64  `json:"records"`
	TimeTick uint64 `json:"time_tick,omitempty"` // of the last delivery
	Partial  bool   `json:"partial"`             // a range or limit was asked for, or places could not be read
	Damage   int64  `json:"unreadable_places,omitempty"`
}

// maxFailures bounds the list of a hopeless log; all are counted.
const maxFailures = 1000

// Incomplete reports whether rows or deletes could not be decoded although the
// log holds them.
func (r *Report) Incomplete() bool {
	d := r.Deletes
	return r.NotOut[Encrypted]+r.NotOut[NoSchema]+r.NotOut[NoPayload]+r.NotOut[Undecodable]+
		d.Predicates+d.Encrypted+d.NoPayload+d.Undecodable > 0
}

// Corrupt reports whether a payload was no rows or no keys at all.
func (r *Report) Corrupt() bool { return r.NotOut[Undecodable]+r.Deletes.Undecodable > 0 }

// tally counts for one goroutine.
type tally struct {
	collections map[int64]*CollectionReport
	failures    []Failure
	failed      int64
	bytes       int64
	former      map[*rows.Field]int64 // rows of dropped fields
}

func newTally() *tally {
	return &tally{collections: map[int64]*CollectionReport{}, former: map[*rows.Field]int64{}}
}

func (t *tally) of(id int64) *CollectionReport {
	c := t.collections[id]
	if c == nil {
		c = &CollectionReport{Collection: id, NotOut: Counts{}}
		t.collections[id] = c
	}
	return c
}

func (t *tally) not(collection int64, why Reason, n uint64) {
	if n > 0 {
		t.of(collection).NotOut[why] += int64(n)
	}
}

func (t *tally) fail(m *message.Message, tick uint64, why Reason, cause error) {
	t.not(m.Collection, why, m.Rows)
	t.failed += int64(m.Rows)
	t.list(m, tick, why, cause)
}

func (t *tally) list(m *message.Message, tick uint64, why Reason, cause error) {
	if len(t.failures) < maxFailures {
		t.failures = append(t.failures, Failure{ID: m.TextID(), Type: m.Type.String(), VChannel: m.VChannel, Collection: m.Collection,
			TimeTick: tick, Rows: m.Rows, Reason: why, Cause: cause.Error()})
	}
}

// add takes another goroutine's counts.
func (t *tally) add(o *tally) {
	for id, c := range o.collections {
		x := t.of(id)
		x.RowsIn += c.RowsIn
		x.RowsOut += c.RowsOut
		for why, n := range c.NotOut {
			x.NotOut[why] += n
		}
	}
	for f, n := range o.former {
		t.former[f] += n
	}
	t.failures = append(t.failures, o.failures...)
	t.failures = t.failures[:min(len(t.failures), maxFailures)]
	t.failed += o.failed
	t.bytes += o.bytes
}

// dropped is the reason of what a scanner dropped.
func dropped(why order.Reason) Reason { return Reason(why.String()) }

func (t *tally) report(r *Report) {
	r.NotOut = Counts{}
	for _, id := range slices.Sorted(maps.Keys(t.collections)) {
		c := t.collections[id]
		r.Collections = append(r.Collections, c)
		r.RowsIn += c.RowsIn
		r.RowsOut += c.RowsOut
		for why, n := range c.NotOut {
			r.NotOut[why] += n
		}
	}
	r.Failures, r.FailedRows, r.Bytes = t.failures, t.failed, t.bytes
	if r.Failures == nil {
		r.Failures = []Failure{}
	}
}

func (r *Report) notef(format string, a ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, a...)) }
