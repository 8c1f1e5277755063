// Package source is the one interface every place a WAL can lie in implements:
// a Pulsar topic, an archive, NDJSON, the disks of Woodpecker, BookKeeper or Kafka.
//
//	Source ── Bounds ──► first and last id, fixed at the call
//	   │
//	   ├─ Open ───────► Reader         bounded: io.EOF at the end fixed when opened
//	   ├─ Follow ─────► Reader         only a FollowSource: waits at the end
//	   └─ OpenColumns ► ColumnReader   only a ColumnSource: index columns, no objects
//
// How a read can end, and no other way:
//
//	io.EOF          the clean end
//	ErrTornTail     the log stops in the middle of a record; all before it was returned
//	*CorruptError   a place could not be read; calling Next again goes on after it
//	any other       the reader is finished
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Sentinels for the caller to test.
var (
	// ErrTornTail: the log's last record is incomplete, as after a crash.
	ErrTornTail = errors.New("torn tail")
	// ErrNotFound: there is no such log at that place.
	ErrNotFound = errors.New("no such log")
	// ErrRefused: going on would change or destroy what is looked at.
	ErrRefused = errors.New("refused")
	// ErrDenied: the credentials are missing, not accepted, or not allowed to read.
	ErrDenied = errors.New("not allowed")
	// ErrUnavailable: the place did not answer.
	ErrUnavailable = errors.New("not reachable")
)

// CorruptError names a place that could not be read, and why. The reader can go
// on behind it. It unwraps to its cause.
type CorruptError struct {
	Source string // where: a path or topic
	Place  string // which: an id, a line, a row group, an offset
	Lost   int64  // records known to be lost there; −1 = unknown
	Cause  error
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %s is corrupt: %v", e.Source, e.Place, e.Cause)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }

// BoundKind says what a Bound's value is.
type BoundKind uint8

// The kinds of bounds. The zero value bounds nothing.
const (
	Unbounded BoundKind = iota
	AtID
	AtTime
	AtTimeTick
)

// Bound is one end of what is read. A From bound is inclusive; a To bound is
// inclusive too: the last record returned is the one it names. AtTime compares
// the physical part of the TimeTick, AtTimeTick the TimeTick itself, both over
// ids in log order: From starts at the first record at or after it, To ends
// with the last record before the first persisted TimeTick message above it.
type Bound struct {
	Kind     BoundKind
	ID       message.ID
	Time     time.Time
	TimeTick uint64
	Offset   int64 // records further on (+) or back (−) from the place named
}

// Reached reports whether a TimeTick stands at or after a bound by time or TimeTick. A
// time means its millisecond, as a TimeTick tells no less.
func (b Bound) Reached(tick uint64) bool { return tick >= b.Least() }

// Exceeded reports whether a TimeTick stands after a bound by time or TimeTick.
func (b Bound) Exceeded(tick uint64) bool {
	if b.Kind == AtTime {
		return tick > message.LastTSOAt(b.Time)
	}
	return tick > b.TimeTick
}

// Least is the smallest TimeTick a bound by time or TimeTick means.
func (b Bound) Least() uint64 {
	if b.Kind == AtTime {
		return message.TSOAt(b.Time)
	}
	return b.TimeTick
}

// Payload says which payloads a reader has to bring.
type Payload uint8

// PayloadDDL brings the payload of every message whose body replay reads
// (not Insert, Delete, TimeTick); PayloadAll brings every one.
const (
	PayloadNone Payload = iota
	PayloadDDL
	PayloadAll
)

// Wants reports whether the payload of a message of a type is to be brought.
func (p Payload) Wants(t message.Type) bool {
	return p == PayloadAll || p == PayloadDDL && t.PayloadRead()
}

// Range is what to read and how.
type Range struct {
	From, To Bound
	Limit    int64 // records; 0 = all
	Payload  Payload
	Props    bool // bring every message's properties, not only those NeedsFull asks for
	// Columns are the fields a ColumnReader has to bring; 0 = all. Others may
	// come back empty.
	Columns message.ColumnSet
}

// Description says what a source is, for overviews and errors.
type Description struct {
	Kind     string // "pulsar", "archive", "jsonl", …
	Location string // topic, directory or file; no credentials
	PChannel string // "" where it is not known before reading
	Called   bool   // PChannel is what whoever opened it says: the log does not tell it before it is read
	Backend  message.Backend
}

// Bounds is what a source holds at the moment of the call.
type Bounds struct {
	First, Last message.ID // zero where the log is empty
	Empty       bool
	Records     int64 // −1 = not known without reading
	Lacks       Lacks // what the log had at its ends and this source does not hold, or cannot read
	// Holes are positions between First and Last at which no record stands, of
	// those whoever read the log looked out for (Sight). A source leaves them nil.
	Holes []message.ID
}

// Lacks says at which ends a copy holds less than its origin did, so that what
// lies beyond them is not taken for gone.
type Lacks struct {
	Start bool       // records before First
	End   bool       // records after Last, or that is not known
	Of    message.ID // the origin's last id; zero = not known
}

// Source is a place a WAL lies in. Close releases connections; readers are
// closed on their own.
type Source interface {
	Describe() Description
	Bounds(ctx context.Context) (Bounds, error)
	Open(ctx context.Context, r Range) (Reader, error)
	Close() error
}

// Reader returns the records of a range in log order. The message stays valid
// after the next call. Next obeys its context within a second; Close does not
// wait longer either, and may be called twice and from another goroutine.
type Reader interface {
	Next(ctx context.Context) (*message.Message, error)
	Close() error
}

// FollowSource is a source whose log may grow while it is read. A reader from
// Follow never returns io.EOF: at the end it waits for more.
type FollowSource interface {
	Source
	Follow(ctx context.Context, r Range) (Reader, error)
}

// ColumnReader returns a range's records as columns. The Columns returned are
// valid until the next call.
type ColumnReader interface {
	NextColumns(ctx context.Context) (*message.Columns, error)
	Close() error
}

// ColumnSource is a source that can bring columns without objects.
type ColumnSource interface {
	Source
	OpenColumns(ctx context.Context, r Range) (ColumnReader, error)
}

// ReadError sorts what a reader meets: more says to read on after it, fatal ends the
// run. nil ends at the first error but the log's end.
type ReadError func(error) (more bool, fatal error)

// Of asks it.
func (f ReadError) Of(err error) (more bool, fatal error) {
	switch {
	case f != nil:
		return f(err)
	case errors.Is(err, io.EOF):
		return false, nil
	}
	return false, err
}

// Progress is called now and then with what has been read so far. total is −1
// where it is unknown. Implementations return at once.
type Progress func(records, bytes, total int64)
