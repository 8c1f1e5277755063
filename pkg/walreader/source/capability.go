package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// What a source can do beside being read is an interface of its own, below and in
// extent.go and ends.go: a backend implements those that are true of it, and whoever
// asks goes by As and never by the backend's type.
//
//	EvidenceSource     files of the moment of its capture lie beside it
//	WitnessSource      a running service tells about it, word for word
//	ProtectedSource    its origin deletes it by age or by size
//	ProducerSource     somebody may be writing to it
//	LayoutSource       the ledgers or segments it is made of have ids of their own
//	PartitionedSource  it may be one part of a log that ought to be whole
//	PayloadSource      it may be a copy without the payloads
//	ByteVerifier       its bytes have checksums beyond those a reader checks
//	ExtentSource       it is a copy, and knows how much of its origin it holds
//	ScanningSource     its ends are known by reading all of it
//	StartSource        its files lie open: starting their owner may change them
//	FollowSource, ColumnSource  how it can be read

// ErrConsumed means that a stream such as standard input can be read once.
var ErrConsumed = errors.New("a stream can be read only once: save it to a file and name that")

// As finds a capability of a source, or of the one it wraps: a wrapper that lets
// the capabilities of what it wraps be seen has a method Unwrap() Source.
func As[T any](s Source) (capable T, ok bool) {
	for s != nil {
		if capable, ok = s.(T); ok {
			return capable, true
		}
		w, wraps := s.(interface{ Unwrap() Source })
		if !wraps {
			break
		}
		s = w.Unwrap()
	}
	return capable, false
}

// The names of evidence, as every archive has them. EvidenceMetrics and EvidenceLog
// begin the names of several: metrics-1.prom, milvus-log-1.gz.
const (
	// EvidenceCatalog holds the catalog captured with a log: JSON, key relative to
	// the metadata root → base64 of its value.
	EvidenceCatalog = "catalog.json"
	// EvidenceCatalogError says in its place why there is none.
	EvidenceCatalogError = "catalog.error.txt"
	// EvidenceTopic holds what a broker's metadata said before the log was read,
	// EvidenceTopicStats the loaded topic's statistics.
	EvidenceTopic      = "topic.json"
	EvidenceTopicStats = "topic-stats.json"
	EvidenceMetrics    = "metrics"    // Prometheus text
	EvidenceLog        = "milvus-log" // gzip, without credentials
)

// What the provenance of evidence says under these keys.
const (
	EvidenceFile  = "file"  // the name of the file it was taken from
	EvidenceError = "error" // why there is no other content
)

// Evidence is one file of the same moment that lies beside a copy of a log.
type Evidence struct {
	Name       string
	File       string // where it lies on this machine
	CapturedAt time.Time
	Provenance map[string]string // where it came from: etcd revision, root, cluster id
}

// Err says why the file holds nothing but that: what it was to be could not be had.
func (e *Evidence) Err() error {
	if why := e.Provenance[EvidenceError]; why != "" {
		return errors.New(why)
	}
	return nil
}

// EvidenceSource is a source with evidence beside it: an archive.
type EvidenceSource interface {
	Source
	// Evidence lists it, in the order it was taken.
	Evidence() []Evidence
	// ReadEvidence returns one file; ErrNotFound where there is none of that name,
	// another error where it is not what was written.
	ReadEvidence(name string) ([]byte, error)
}

// EvidenceOf finds a file beside a source by its name.
func EvidenceOf(s Source, name string) (Evidence, bool) {
	with, ok := As[EvidenceSource](s)
	if !ok {
		return Evidence{}, false
	}
	for _, e := range with.Evidence() {
		if e.Name == name {
			return e, true
		}
	}
	return Evidence{}, false
}

// Testimony is what the service that holds a log said of it, word for word.
type Testimony struct {
	Kind    string // who was asked: "pulsar-admin"
	Topic   string // what about
	At      time.Time
	Answers map[string]json.RawMessage // by call; null where nothing is set
	Errors  map[string]string          // of calls that brought no answer
}

// WitnessSource is a live log whose service tells about it.
type WitnessSource interface {
	Source
	// Metadata asks what changes nothing of a log that nobody has touched, and
	// brings beside it what the answers mean for its retention.
	Metadata(ctx context.Context) (Testimony, Protection)
	// Stats asks what only a log may be asked that is being read by now.
	Stats(ctx context.Context) Testimony
}

// Protection is what stands between a log and its deletion by its origin.
type Protection struct {
	Told           bool // the service tells; false: nothing else here is known
	RetentionKnown bool
	Retention      time.Duration // applied; −1 = for ever; meaningless unless RetentionKnown
	RetentionBytes int64         // applied; −1 = no limit; meaningless unless RetentionKnown
	TTL            time.Duration // applied message TTL; 0 = none, or not known

	Loaded       bool  // the service trims it already, all the time; false = not known
	OldestLedger int64 // −1 = no ledger, or not known
	OldestTime   time.Time
	// LostAt is when the oldest ledger may go at the earliest; zero = never, or
	// not known. It is in the past where a ledger outlived its retention.
	LostAt  time.Time
	Ledgers int
	Bytes   int64 // of closed ledgers
	// Expired counts the ledgers that live only because the log is not loaded.
	Expired int
}

// Ends reports whether retention deletes anything of the log at all, as far as known.
func (p Protection) Ends() bool {
	return p.RetentionKnown && (p.Retention >= 0 || p.RetentionBytes >= 0)
}

// ProtectedSource is a live log that its origin deletes by age or by size.
type ProtectedSource interface {
	Source
	// Protection is what was seen of the log before it was touched. It asks nobody.
	Protection() Protection
	// LostAt is when the ledger that holds a position may be deleted at the earliest,
	// judged by the same: zero = never, or not known. It is in the past where the
	// next trim deletes it.
	LostAt(id message.ID, now time.Time) time.Time
}

// ProducerSource is a live log.
type ProducerSource interface {
	Source
	// Producers lists who may write to the log right now, each as the service names
	// it. An error means that it is not known: nobody may be taken for absent.
	Producers(ctx context.Context) ([]string, error)
}

// LayoutSource is a log made of ledgers or segments that have ids of their own.
type LayoutSource interface {
	Source
	// LedgerIDs lists them, oldest first. Two places hold the same log only if they
	// share one.
	LedgerIDs(ctx context.Context) ([]string, error)
}

// PartitionedSource is a log that a service can hold in parts, as Milvus never does.
type PartitionedSource interface {
	Source
	// Partitioned says what is wrong where it is so; "" where it is not.
	Partitioned() string
}

// Partitioned says what is wrong with a log that has parts; "" for any other.
func Partitioned(s Source) string {
	if p, ok := As[PartitionedSource](s); ok {
		return p.Partitioned()
	}
	return ""
}

// PayloadSource is a copy that may be without what messages carry.
type PayloadSource interface {
	Source
	HasPayload() (bool, error)
}

// Damage is a place whose bytes are not those that were written. It is an error.
type Damage struct {
	Path        string // below the source's directory
	Place       string // "footer", "row group 0, column checksum, page 3 …", "missing"
	First, Last message.ID
	Rows        int64 // rows that cannot be read whole because of it; 0 = none
	Cause       error
}

// Error implements error.
func (d *Damage) Error() string {
	if d.Rows == 0 {
		return fmt.Sprintf("%s: %s: %v", d.Path, d.Place, d.Cause)
	}
	return fmt.Sprintf("%s: %s: %v (ids %s … %s, %d rows)", d.Path, d.Place, d.Cause, d.First, d.Last, d.Rows)
}

// Unwrap returns the cause.
func (d *Damage) Unwrap() error { return d.Cause }

// Corrupt returns the damage as the error a reader returns for such a place.
func (d *Damage) Corrupt(dir string) *CorruptError {
	return &CorruptError{Source: dir, Place: d.Path + ": " + d.Place, Lost: d.Rows, Cause: d.Cause}
}

// ByteVerifier is a source whose bytes have checksums of their own, beyond what a
// reader comes by.
type ByteVerifier interface {
	Source
	// VerifyBytes reads every byte and returns each place that is damaged. The error
	// is the context's, or says why it cannot go on.
	VerifyBytes(ctx context.Context, progress Progress) ([]*Damage, error)
}

// StartOutcome is what a start of a log's owner would make of its files.
type StartOutcome string

// The outcomes.
const (
	StartWhole   StartOutcome = "whole"   // it starts and reads everything
	StartRefused StartOutcome = "refused" // it does not start; nothing changes
	StartHangs   StartOutcome = "hangs"   // it starts, and a reader never comes to the end
	StartSkips   StartOutcome = "skips"   // it starts, and passes by intact messages without an error
	StartDeletes StartOutcome = "deletes" // it deletes files that hold intact messages
)

// Start is what a start of a log's owner would make of its files as they lie.
type Start struct {
	Outcome StartOutcome `json:"outcome"`
	Says    string       `json:"says"`              // one sentence, without a full stop
	Deletes []string     `json:"deletes,omitempty"` // files
	Loses   int64        `json:"loses,omitempty"`   // messages of the place, intact now, as far as counted
}

// StartSource is a log read off the disk of an owner that is not running.
type StartSource interface {
	Source
	Start(ctx context.Context) (Start, error)
}
