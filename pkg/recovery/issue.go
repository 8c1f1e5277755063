package recovery

import (
	"sort"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Line is a set of Milvus release lines.
type Line uint8

// The lines whose rules are known.
const (
	Line26   Line = 1 << iota // 2.6.x
	Line30                    // 3.0.x
	AllLines = Line26 | Line30
)

// String names the lines as operators do.
func (l Line) String() string {
	switch l {
	case Line26:
		return "2.6"
	case Line30:
		return "3.0"
	case AllLines:
		return "2.6, 3.0"
	}
	return "none"
}

// Code names a kind of issue. Codes are stable: part of the JSON contract.
type Code string

// What stops a node (docs/rules.md#recovery-obstacles).
const (
	CodeCatalogKey        Code = "recovery-catalog-key"           // a key Milvus panics on or gives up at
	CodeEnvelope          Code = "recovery-envelope-undecodable"  // properties it panics on
	CodeHeader            Code = "recovery-header-undecodable"    // typed header missing or broken
	CodeBody              Code = "recovery-body-undecodable"      // DDL payload missing or broken
	CodeNeverOnWire       Code = "recovery-never-on-wire"         // a consumer-side type, or `_np`
	CodeUnknownType       Code = "recovery-unknown-type"          // no line knows the type
	CodeNewerType         Code = "recovery-newer-type"            // an older line panics on it
	CodeReplicateConfig   Code = "recovery-replicate-config"      // a configuration that panics
	CodePositionGone      Code = "position-gone"                  // a stored position cannot be read from: source.Standing says why
	CodeCheckpointBroken  Code = "recovery-checkpoint-unreadable" // its id cannot be parsed
	CodeNoCheckpoint      Code = "recovery-no-checkpoint"         // collections come from the root coordinator
	CodeOpeningUnreadable Code = "recovery-opening-unreadable"    // the TimeTick to stop at is not in the log
	CodeAlterWALStageLost Code = "recovery-alter-wal-stage-lost"  // a WAL switch was cut off between its stages
	CodeUnreadable        Code = "recovery-log-unreadable"        // a place in the log is corrupt
	CodeGap               Code = "recovery-log-gap"               // ids are missing
	CodeIDBackwards       Code = "recovery-id-backwards"          // an id lies before its predecessor
	CodePayloadAbsent     Code = "recovery-payload-absent"        // a definition that was copied without its payload
	CodeImportWaits       Code = "recovery-import-waits"          // a flusher waits at a CommitImport
)

// What loses rows, or only puzzles (docs/rules.md#recovery-quarantine).
const (
	CodeVChannelMissing   Code = "vchannel-missing"   // RootCoord lists it, neither catalog nor log brings it
	CodeChannelDropped    Code = "channel-cp-dropped" // DataCoord counts a channel as dropped that lives
	CodeVChannelUnknown   Code = "recovery-vchannel-unknown"
	CodeInsertNoSegment   Code = "recovery-insert-segment-missing"
	CodeInsertFlushed     Code = "recovery-insert-segment-flushed"
	CodeInsertNoVChannel  Code = "recovery-insert-vchannel-unknown"
	CodeInsertDropped     Code = "recovery-insert-vchannel-dropped"
	CodeInsertNoPartition Code = "recovery-insert-partition-unknown"
	CodeSegmentSkipped    Code = "recovery-segment-without-vchannel"
	CodeSegmentOrphan     Code = "recovery-segment-orphan"
	CodeFlushMissing      Code = "recovery-flush-segment-missing"
	CodeCopyMissing       Code = "broadcast-copy-missing"
	CodeReplicateState    Code = "recovery-replicate-checkpoint"
	CodeStale             Code = "recovery-message-stale"
	CodeDuplicateID       Code = "recovery-duplicate-id"
	CodeEqualTimeTick     Code = "recovery-equal-timetick"
	CodeTimeWentBack      Code = "recovery-time-went-back"
	CodeTxnBroken         Code = "recovery-transaction-broken"
	CodeTxnExpired        Code = "recovery-transaction-expired"
	CodeTxnDiscarded      Code = "recovery-transaction-discarded"
	CodeChunked           Code = "chunked-payload"    // a message in several records, put together
	CodeChunksMissing     Code = "chunked-incomplete" // one that cannot be
	CodeChunksUnfinished  Code = "chunked-unfinished" // one whose append was never finished
)

// Issue is one thing a recovery meets that a healthy log and catalog do not have.
type Issue struct {
	Code Code `json:"code"`
	// Stops names the lines on which a node does not get past this.
	Stops Line `json:"-"`

	ID       string       `json:"id,omitempty"` // of the message; "" for a catalog key
	Ordinal  int64        `json:"-"`
	TimeTick uint64       `json:"time_tick,omitempty,string"`
	Type     message.Type `json:"-"`
	VChannel string       `json:"vchannel,omitempty"`
	Key      string       `json:"key,omitempty"` // relative to the metadata root

	Collection int64  `json:"collection,omitempty,string"`
	Partition  int64  `json:"partition,omitempty,string"`
	Segment    int64  `json:"segment,omitempty,string"`
	Rows       uint64 `json:"rows,omitempty,string"`

	Detail string `json:"detail,omitempty"`
}

// Consequence says what happens to a node, or to the rows, in a sentence.
func (i *Issue) Consequence() string { return consequences[i.Code] }

// Outcome says what an issue that decides a verdict does to a node, in words that
// follow "would".
func (i *Issue) Outcome() string {
	if i.Obstacle() {
		return "STOP"
	}
	return "LOSE DATA"
}

// Obstacle reports whether the issue stops a node of any line.
func (i *Issue) Obstacle() bool { return i.Stops != 0 }

// Loses reports whether a node gets past the issue and loses, without a word, what
// the log holds: a verdict as much as a stop is.
func (i *Issue) Loses() bool {
	return i.Code == CodePositionGone || i.Code == CodeVChannelMissing || i.Code == CodeChannelDropped
}

// Codes lists every code an Issue can have, sorted.
func Codes() []Code { return sortedKeys(consequences) }

// IssueCount sums the issues of one code.
type IssueCount struct {
	Code     Code   `json:"code"`
	Messages int64  `json:"messages"`
	Rows     uint64 `json:"rows"`
}

// maxIssues bounds how many issues of one code are kept; all are counted.
const maxIssues = 10_000

// Issues collects what was met, in replay order.
type Issues struct {
	list   []Issue
	counts map[Code]*IssueCount
}

// List returns the issues in the order they were met: at most maxIssues a code.
func (s *Issues) List() []Issue { return s.list }

// Counts returns the sums by code, in the order of the codes.
func (s *Issues) Counts() []IssueCount {
	out := make([]IssueCount, 0, len(s.counts))
	for _, c := range s.counts {
		out = append(out, *c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Code < out[j].Code })
	return out
}

// FirstObstacle returns what stops a node of the line first; where nothing does,
// a position that is gone: the node opens, and loses what lay there without a
// word. nil when there is neither.
func (s *Issues) FirstObstacle(l Line) *Issue {
	var gone *Issue
	for i := range s.list {
		if s.list[i].Stops&l != 0 {
			return &s.list[i]
		}
		if gone == nil && s.list[i].Loses() {
			gone = &s.list[i]
		}
	}
	return gone
}

func (s *Issues) add(i Issue) {
	if s.counts == nil {
		s.counts = make(map[Code]*IssueCount)
	}
	c := s.counts[i.Code]
	if c == nil {
		c = &IssueCount{Code: i.Code}
		s.counts[i.Code] = c
	}
	c.Messages++
	c.Rows += i.Rows
	if c.Messages <= maxIssues {
		s.list = append(s.list, i)
	}
}

// append adds what another collection has, sums included.
func (s *Issues) append(o *Issues) {
	s.list = append(s.list, o.list...)
	if s.counts == nil {
		s.counts = make(map[Code]*IssueCount)
	}
	for code, c := range o.counts {
		if s.counts[code] == nil {
			s.counts[code] = &IssueCount{Code: code}
		}
		s.counts[code].Messages += c.Messages
		s.counts[code].Rows += c.Rows
	}
}

func (s *Issues) clone() Issues {
	out := Issues{list: append([]Issue(nil), s.list...), counts: make(map[Code]*IssueCount, len(s.counts))}
	for k, v := range s.counts {
		c := *v
		out.counts[k] = &c
	}
	return out
}

// about starts an issue at a message.
func about(code Code, m *message.Message) Issue {
	i := Issue{Code: code, ID: m.ID.String(), Ordinal: m.Ordinal, TimeTick: m.TimeTick, Type: m.Type, VChannel: m.VChannel,
		Collection: m.Collection, Partition: m.Partition, Segment: m.Segment}
	if m.Type == message.TypeInsert {
		i.Rows = m.Rows
	}
	return i
}

func fromProblem(p catalog.Problem) Issue {
	return Issue{Code: CodeCatalogKey, Stops: AllLines, Key: p.Key, Detail: p.Code + ": " + p.Detail}
}

var consequences = map[Code]string{
	CodeCatalogKey:        "every node that opens this WAL stops while it loads the key",
	CodeEnvelope:          "every node that reads this message panics",
	CodeHeader:            "every node that recovers over this message panics",
	CodeBody:              "every node that recovers over this message panics",
	CodeNeverOnWire:       "every node that recovers over this message panics or drops it",
	CodeUnknownType:       "recovery passes over it; the flusher of a live vchannel that gets it panics, again at each restart",
	CodeNewerType:         "a flusher of the older line panics when it gets it: the downgrade fails",
	CodeReplicateConfig:   "every node that recovers over this message panics, again at each restart",
	CodePositionGone:      "nothing can be read from there: a node silently begins at the next message it finds, and what lay between is lost to it",
	CodeCheckpointBroken:  "the opening fails while it loads the checkpoint",
	CodeNoCheckpoint:      "the node starts from the root coordinator's collections and ignores everything in the log",
	CodeOpeningUnreadable: "the opening waits for this TimeTick for ever",
	CodeAlterWALStageLost: "the switch to the other WAL was cut off; no node finishes it by itself",
	CodeUnreadable:        "what lay there is not replayed; whether a node could read it is not known here",
	CodeGap:               "the missing messages are not replayed",
	CodePayloadAbsent:     "not checked: this copy of the log lacks the definition's payload; export it with --data, or capture it with its payloads",
	CodeImportWaits:       "the flusher tries this import again until its job is Uncommitted, and so it does after each restart: no restart cures it",
	CodeIDBackwards:       "the log is not in the order of its ids",

	CodeChannelDropped:    "DataCoord marks the channel as dropped, yet it is registered and its collection lives: its flusher has no place to begin at, and a node that seeks there can panic",
	CodeVChannelMissing:   "nothing on this vchannel is recovered or flushed, and no restart registers it",
	CodeVChannelUnknown:   "a node logs it as inconsistent and goes on; metadata for its vchannel is missing",
	CodeInsertNoSegment:   "recovery passes over the rows: it knows no such segment, and no growing segment serves them",
	CodeInsertFlushed:     "recovery passes over the rows: their segment was sealed before they were committed",
	CodeInsertNoVChannel:  "recovery passes over the rows: their vchannel has no metadata",
	CodeInsertDropped:     "recovery passes over the rows: their collection is dropped",
	CodeInsertNoPartition: "recovery passes over the rows, or counts them in a segment it then hides: their partition is dropped or unknown",
	CodeSegmentSkipped:    "the segment is not created, so rows written into it are passed over",
	CodeSegmentOrphan:     "the growing segment is hidden from the node: its rows are not served as growing data",
	CodeFlushMissing:      "the flush names a segment recovery does not know",
	CodeCopyMissing:       "the broadcast is not finished: the coordinator sends the copy when it runs, and later changes of the same object wait",
	CodeReplicateState:    "the replicate checkpoint does not advance: replication may resend or stall",
	CodeStale:             "the message came too late for a TimeTick: every later reader drops it",
	CodeDuplicateID:       "the message is delivered once",
	CodeTimeWentBack:      "its TimeTick lies before one delivered earlier: readers deliver it, recovery ignores it, so it is missing from the recovered state",
	CodeEqualTimeTick:     "recovery takes it for a second copy and passes over it; a flusher delivers it",
	CodeTxnBroken:         "a part without its Begin: the part is dropped",
	CodeTxnExpired:        "the transaction was abandoned; its parts are dropped",
	CodeTxnDiscarded:      "the transaction was given up; its parts are dropped",
	CodeChunked:           "a newer Milvus wrote it in several records and reads it as one message; nodes of 2.6 and 3.0 do not put them together",
	CodeChunksMissing:     "its records are not all there, or contradict each other: the Milvus that wrote it cannot read it, and what it carried is lost",
	CodeChunksUnfinished:  "its writer stopped between its records and told no client that it is safe: readers drop it",
}
