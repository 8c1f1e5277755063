package salvage

import (
	"errors"

	"github.com/milvus-io/milvus-proto/go-api/v3/schemapb"

	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/rows"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Sentinels for the caller to test.
var (
	// ErrMemory: the deletes, or the dropped messages, do not fit Options.Memory.
	ErrMemory = errors.New("memory bound exceeded")
	// ErrNoCollection: no collection of that name is in the log or the catalog.
	ErrNoCollection = errors.New("no such collection")
)

// KnownSchema is a schema from outside the log: the catalog's or RootCoord's.
type KnownSchema struct {
	Collection int64
	// TimeTick is when it became valid; 0 = not told. The log's own schemas come
	// first where they are as new.
	TimeTick uint64
	Schema   *schemapb.CollectionSchema
	// Partitions are the names by id, where they are known.
	Partitions map[int64]string
}

// Options say which rows to bring out.
type Options struct {
	// Range bounds what is read: From, To and Limit.
	Range source.Range
	// UntilTimeTick stops at the last delivery with at most this TimeTick; 0 = none.
	UntilTimeTick uint64
	// Tail takes what no TimeTick has confirmed yet too, as the next opening would.
	Tail bool
	// IncludeDropped brings rows of dropped collections and partitions and
	// truncated ones; IncludeDeleted deleted ones.
	IncludeDropped, IncludeDeleted bool
	// LostOnly brings only rows that a reader would drop, and of these the ones
	// that are missing: not delivered under another id, not deleted or inserted
	// again later.
	LostOnly bool
	// Collections and Partitions are ids or names, Segments ids; empty = all.
	Collections, Partitions []string
	Segments                []int64
	// VChannel reports whether a vchannel is wanted; nil = all are.
	VChannel func(string) bool
	// Schemas help where the log has lost them.
	Schemas []KnownSchema
	// Memory bounds what is held between the passes, in bytes; 0 = not bounded.
	Memory int64
	// Workers decode at once; 0 = one for each processor, at most 8.
	Workers int
	// ReadError is asked in the first pass only.
	ReadError source.ReadError
	Progress  source.Progress
}

// Mark says why a row would not be there without being asked for. The zero
// value is a row that lives.
type Mark struct {
	// Dropped is what ended the row: CollectionDropped, PartitionDropped or
	// Truncated.
	Dropped Reason
	Deleted bool
	// Lost is why a reader drops the row; 0 = it does not.
	Lost order.Reason
	// Replaces: a row with the same key, from before this one, lives. Bring it
	// back as an upsert; an import would leave two.
	Replaces bool
}

// Rows is some rows of one Insert message, all with the same Mark.
type Rows struct {
	Batch      *rows.Batch
	Keep       []int32 // which of them, ascending
	Mark       Mark
	Collection int64
	Database   string
	Partition  int64
	Segment    int64
	VChannel   string
	TimeTick   uint64 // with which they are delivered
	ID         string // the message's, readable
}

// Sink takes the rows. Prepare is called by several goroutines at once and
// returns what Write then brings out in log order, one after the other.
type Sink interface {
	Prepare(r *Rows) (Chunk, error)
}

// Chunk is rows made ready to be written. Write is called once.
type Chunk interface {
	Write() error
}
