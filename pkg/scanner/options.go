package scanner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Policy is how a release of Milvus keeps its write-ahead buffer, by the change that
// brought it. docs/rules.md#catch-up
type Policy uint8

// The policies, oldest first; each has what the ones before it brought.
// Before41109 may evict the last entry. Policy41109 never does. Policy41201 takes up a
// TimeTick equal to the last entry. Policy41345 writes a TimeTick for each new scanner.
// Policy41470 keeps persisted TimeTicks that no message came with; it is that of every
// 2.6 and of 3.0.
const (
	Before41109 Policy = iota
	Policy41109
	Policy41201
	Policy41345
	Policy41470
)

// Policies are the words of the policies, oldest first.
func Policies() []string { return []string{"before-41109", "41109", "41201", "41345", "41470"} }

// String returns the policy's word.
func (p Policy) String() string { return Policies()[min(p, Policy41470)] }

// MarshalText implements encoding.TextMarshaler.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParsePolicy reads a policy's word.
func ParsePolicy(word string) (Policy, error) {
	i := slices.Index(Policies(), word)
	if i < 0 {
		return 0, fmt.Errorf("%q is no policy: want %s", word, strings.Join(Policies(), ", "))
	}
	return Policy(i), nil
}

// forces reports whether a new scanner gets a TimeTick written for it.
func (p Policy) forces() bool { return p >= Policy41345 }

// StartKind is where a scanner begins to read.
type StartKind uint8

// The kinds of start. Last is the log's last TimeTick at the moment the scanner opens;
// LastConfirmed is the last confirmed id of that one.
const (
	StartAll StartKind = iota
	StartLatest
	StartFromOpening
	StartFromLastConfirmed
	StartAfterLastConfirmed
	StartFromLast
	StartAfterLast
	StartFromID
	StartAfterID
)

// Starts are the words of the starts; the last two take an id behind them.
func Starts() []string {
	return []string{"all", "latest", "from-opening", "from-last-confirmed", "after-last-confirmed", "from-last", "after-last", "from:", "after:"}
}

// Start is where a scanner begins to read. ID is the id as it was typed: only the log
// tells of which kind it is.
type Start struct {
	Kind StartKind
	ID   string
}

// String returns the start as it is typed.
func (s Start) String() string { return Starts()[min(s.Kind, StartAfterID)] + s.ID }

// MarshalText implements encoding.TextMarshaler.
func (s Start) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseStart reads a start.
func ParseStart(word string) (Start, error) {
	for k, name := range Starts() {
		id, ok := strings.CutPrefix(word, name)
		if takesID := StartKind(k) >= StartFromID; ok && takesID == (id != "") {
			return Start{StartKind(k), id}, nil
		}
	}
	return Start{}, fmt.Errorf("%q is no start: want %sID or %sID", word, strings.Join(Starts()[:StartAfterID], ", "), Starts()[StartAfterID])
}

// Options are what a simulation is asked. Milvus's own values of capacity and keepalive
// are DefaultCapacity and DefaultKeepalive.
type Options struct {
	Policy    Policy
	Start     Start
	Capacity  int64 // bytes
	Keepalive time.Duration
	// Idle is how long nothing is written before the scanner opens, or before the slow
	// consumer goes on.
	Idle time.Duration
	// Trimmed: when the scanner opens, or the slow consumer goes on, retention has
	// removed all records up to the last TimeTick.
	Trimmed bool

	// PauseAfter makes the consumer a slow one: the scanner opens with the WAL, and its
	// consumer stops after the record with this id, as it was typed. "" = it never stops,
	// and opens when all of the log is written.
	PauseAfter string
	// ResumeAt is the ordinal of the record with which the log has grown when the
	// consumer goes on; negative = the last one.
	ResumeAt int64

	ReadError source.ReadError
	Progress  source.Progress
}

// The defaults of Milvus: streaming.walWriteAheadBuffer.capacity and .keepalive.
const (
	DefaultCapacity  = 64 << 20
	DefaultKeepalive = 30 * time.Second
)

// The virtual clock's steps, in milliseconds: a node makes a TimeTick every tickEvery,
// and a forced one stands in the log forcedAfter the scanner opened.
const (
	tickEvery   = 200
	forcedAfter = 1
)

// IDError says that an id of the options is none of the log's kind.
type IDError struct {
	Option, ID string
	Err        error
}

// Error implements error.
func (e *IDError) Error() string { return fmt.Sprintf("%s %q: %v", e.Option, e.ID, e.Err) }

// Unwrap returns the cause.
func (e *IDError) Unwrap() error { return e.Err }

// typedID reads an id in the log's spelling.
func typedID(option, id string, backend message.Backend) (message.ID, error) {
	if id == "" {
		return message.ID{}, nil
	}
	parsed, err := message.ParseText(backend, id)
	if err != nil {
		return message.ID{}, &IDError{option, id, err}
	}
	return parsed, nil
}
