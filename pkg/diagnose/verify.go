package diagnose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Checkpoint is what invariant 15 needs of a catalog's consume checkpoint.
type Checkpoint struct {
	ID       message.ID // zero = none is stored, or Unread
	Unread   string     // why the stored id cannot be read
	Key      string
	TimeTick uint64
	// Role is what the checkpoint's replicate configuration makes of this cluster,
	// nil where it has none. It holds from the checkpoint's TimeTick on; what the
	// log itself tells goes first.
	Role *message.ClusterRole
}

// VerifyOptions say what verify knows beside the log. The zero value is ready.
type VerifyOptions struct {
	WAL      string // as the user named it, for the next command; "" = none is given
	PChannel string // "" = found from the vchannels' names
	// Checkpoint is the catalog's, nil where there is none to compare with.
	Checkpoint *Checkpoint
	// Flushed are the flush positions of the vchannels that live, judged as the
	// checkpoint's position is.
	Flushed []StoredPosition
	// Ends asks for the log's ends, where what was read is not all of it; nil =
	// what was read is.
	Ends func(context.Context) (source.Bounds, error)
	// Schemas tells the catalog's schemas to whoever watches the fields of inserts.
	Schemas SchemasFunc
	// CatalogTerm is the pchannel's term as the catalog's coordinator has it, 0 =
	// not known.
	CatalogTerm int64
	// Version is the Milvus that wrote the log ("2.6.4", "3.0"), "" = unknown:
	// then the rules both lines share hold. Up to 2.6.6 the last confirmed ids
	// are not judged (invariants 5 and 6).
	Version string
	// Partial says that the range was cut (a --from, a --limit), so that what
	// stands before its first record is unknown.
	Partial bool
	// ListDropped keeps every message a reader would drop, not only counts.
	ListDropped bool
	Progress    source.Progress
}

// Dropped is one message in the log that no later reader delivers.
type Dropped struct {
	ID       message.ID   `json:"-"`
	IDText   string       `json:"id"`
	VChannel string       `json:"vchannel"`
	Type     message.Type `json:"-"`
	TypeName string       `json:"type"`
	Rows     uint64       `json:"rows"`
	TimeTick uint64       `json:"time_tick,string"`
	Term     int64        `json:"term"`
	Behind   uint64       `json:"behind_time_tick,string"` // the TimeTick it lies behind
}

// DroppedSummary counts what a later reader drops. Retry duplicates, whose
// first copy is delivered, are not in it.
type DroppedSummary struct {
	Messages  int64          `json:"messages"`
	Rows      uint64         `json:"rows"`    // inserted
	Deletes   uint64         `json:"deletes"` // deleted
	VChannels []DroppedCount `json:"vchannels"`
	Types     []DroppedCount `json:"types"`
	List      []Dropped      `json:"list,omitempty"` // VerifyOptions.ListDropped
}

// DroppedCount is one vchannel's or one type's share.
type DroppedCount struct {
	Name     string `json:"name"`
	Messages int64  `json:"messages"`
	Rows     uint64 `json:"rows"`
	Deletes  uint64 `json:"deletes"`
}

func (d *DroppedSummary) add(name string, typ message.Type, rows uint64) {
	one := DroppedCount{Messages: 1}
	switch typ {
	case message.TypeInsert:
		one.Rows = rows
	case message.TypeDelete:
		one.Deletes = rows
	}
	d.Messages, d.Rows, d.Deletes = d.Messages+1, d.Rows+one.Rows, d.Deletes+one.Deletes
	d.VChannels = countUnder(d.VChannels, name, one)
	d.Types = countUnder(d.Types, typ.String(), one)
}

func countUnder(counts []DroppedCount, name string, one DroppedCount) []DroppedCount {
	for i := range counts {
		if c := &counts[i]; c.Name == name {
			c.Messages, c.Rows, c.Deletes = c.Messages+1, c.Rows+one.Rows, c.Deletes+one.Deletes
			return counts
		}
	}
	one.Name = name
	return append(counts, one)
}

// InvariantResult is one line of the verdict.
type InvariantResult struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Status string `json:"status"` // "hold", "broken", "not checked"
	Why    string `json:"why,omitempty"`
}

// VerifyReport is what one pass over a log found.
type VerifyReport struct {
	Records    int64             `json:"records"`
	First      string            `json:"first"`
	Last       string            `json:"last"`
	Terms      int               `json:"terms"` // openings seen
	Hold       int               `json:"hold"`
	Broken     int               `json:"broken"`
	Unchecked  int               `json:"not_checked"`
	Invariants []InvariantResult `json:"invariants"`
	Dropped    DroppedSummary    `json:"dropped"`
	Findings   []Finding         `json:"-"`              // stands in the header of an answer
	Corrupt    int               `json:"corrupt_places"` // places that could not be read
}

// VerifyColumns are the fields Verify reads.
const VerifyColumns = message.AllColumns &^ (message.ColumnPublishTime | message.ColumnPayloadSize | message.ColumnBroadcastID)

// Verify reads columns to their end and holds every invariant of
// docs/rules.md#invariants against them, in one pass. Memory is bounded by one
// TimeTick window, the open transactions, and the live vchannels, partitions
// and segments. A place that cannot be read becomes a finding and the pass goes
// on behind it; any other read error ends it and comes with the report so far.
func Verify(ctx context.Context, r source.ColumnReader, opts VerifyOptions) (*VerifyReport, error) {
	v := newVerifier(opts)
	for {
		c, err := r.NextColumns(ctx)
		var corrupt *source.CorruptError
		switch {
		case err == nil:
			v.batch(c)
			if opts.Progress != nil {
				opts.Progress(v.records, 0, -1)
			}
		case errors.Is(err, io.EOF):
			return v.judged(ctx)
		case errors.Is(err, source.ErrTornTail):
			v.tell(tornTail, occurrence{pos: v.last, note: "the log stops in the middle of a record, as after a crash", detail: err.Error()})
			return v.judged(ctx)
		case errors.As(err, &corrupt):
			v.corrupt(corrupt)
		default:
			return v.report(), fmt.Errorf("verify the log after %s: %w", v.id(v.last), err)
		}
	}
}

// verifier is the state of one pass.
type verifier struct {
	opts    VerifyOptions
	backend message.Backend
	names   []string
	found   collector
	dropped DroppedSummary
	splits  splits

	records     int64
	corruptions int
	haveLast    bool
	first, last position
	lastSize    int32 // batch size of the last entry, 0 = unknown
	ledgers     []ledger
	shuffled    bool     // their order is not that of their numbers
	blindStart  bool     // a place that cannot be read was met before the first record
	blindAt     int64    // records read when the last such place was met
	blindEnd    bool     // a place that cannot be read was met since the last ledger began
	lostAfter   position // the newest loss between two ledgers begins after it
	entries     batchRing

	careful   bool // take no row as plain: for tests
	partial   bool // what stands before the first record is unknown
	old       int64
	waiveLC   bool // written before last confirmed ids were right
	is30      bool
	typeBits  [1024]uint16
	rows      *message.Columns // the batch at hand
	window    window
	terms     termState
	txns      transactions
	segments  segments
	vchannels []vchannelState
	replicate replication
	// broadcastTypes keeps, by type, that it was met broadcast.
	broadcastTypes [1024]message.Flags
	gone           []Finding // positions that cannot be read from
	check15        bool      // the first message above the checkpoint was met
	copies         *message.CopyWatch
	sight          source.Sight // of the catalog's positions
}

func newVerifier(opts VerifyOptions) *verifier {
	v := &verifier{opts: opts, partial: opts.Partial}
	v.waiveLC = versionBefore(opts.Version, 2, 6, 7)
	v.is30 = opts.Version != "" && !versionBefore(opts.Version, 3, 0, 0)
	for _, t := range message.Types() {
		v.typeBits[min(int(t), len(v.typeBits)-1)] = bitsOf(t)
	}
	v.sight = lookOut(opts.stored())
	v.dropped = DroppedSummary{VChannels: []DroppedCount{}, Types: []DroppedCount{}}
	v.window.budget = siftBudget
	v.splits.Drop = v.notWhole
	return v
}

// versionBefore compares the leading numbers of a version; "" is before nothing.
func versionBefore(s string, want ...int) bool {
	if s == "" {
		return false
	}
	parts := strings.Split(strings.TrimPrefix(s, "v"), ".")
	for i, w := range want {
		n := 0
		if i < len(parts) {
			if _, err := fmt.Sscanf(parts[i], "%d", &n); err != nil {
				return false
			}
		} else {
			n = w // "2.6" says nothing of the patch
		}
		if n != w {
			return n < w
		}
	}
	return false
}

func (v *verifier) tell(c *Check, o occurrence) { v.found.add(c, &o) }

func (v *verifier) corrupt(err *source.CorruptError) {
	v.corruptions++
	v.sight.Unread()
	v.tell(unreadable, occurrence{pos: v.last, note: "a place that cannot be read", detail: err.Error()})
	v.haveLast, v.blindEnd = false, true // what follows need not join on
	v.blindStart, v.blindAt = v.blindStart || v.records == 0, v.records
	v.partial = true
	for i := range v.vchannels { // in place: what waits in the window points at them
		v.vchannels[i] = v.newVChannel(v.names[i])
	}
	v.replicate = replication{}
}

// report closes the pass: the unconfirmed tail is judged too, as the next
// opening TimeTick would confirm it.
func (v *verifier) report() *VerifyReport {
	v.finish()
	r := &VerifyReport{Records: v.records, Terms: v.terms.openings, Dropped: v.dropped, Corrupt: v.corruptions}
	if v.records > 0 {
		r.First, r.Last = v.id(v.first), v.id(v.last)
	}
	r.Invariants = v.verdict()
	for _, i := range r.Invariants {
		switch i.Status {
		case statusHold:
			r.Hold++
		case statusBroken:
			r.Broken++
		default:
			r.Unchecked++
		}
		if i.Why != "" {
			v.tell(notChecked, occurrence{pos: v.last, note: fmt.Sprintf("invariant %d (%s): %s", i.Number, i.Title, i.Why)})
		}
	}
	r.Findings = append(v.gone, v.findings()...)
	return r
}

func (v *verifier) finish() {
	if n := v.window.size(); n > 0 {
		first := v.entry(v.window.top(), 0)
		v.tell(unconfirmedTail, occurrence{pos: first.pos, tt: first.tt, vchannel: first.vchannel, typ: first.typ,
			note: fmt.Sprintf("%d messages stand after the last TimeTick; the next opening confirms them", n)})
	}
	v.splits.Expire(math.MaxUint64)
	v.deliverUpTo(^uint64(0))
	v.leftoverTransactions()
	v.missingCopies()
	if termBehind(v.terms.max, v.opts.CatalogTerm) {
		v.tell(catalogTermBehind, occurrence{pos: v.terms.maxAt, term: v.terms.max,
			note: fmt.Sprintf("the log was opened by term %d, the catalog knows of %d", v.terms.max, v.opts.CatalogTerm)})
	}
	if v.partial && v.records > 0 {
		v.tell(partialStart, occurrence{pos: v.first, note: "the log does not start at its first opening: what began before its first record is taken as it is found"})
	}
	if v.old > 0 {
		v.tell(notChecked, occurrence{pos: v.first, note: fmt.Sprintf("%d messages written before streaming carry no envelope to judge", v.old)})
	}
	if v.window.unjudged > 0 {
		v.tell(notChecked, occurrence{pos: v.last, note: fmt.Sprintf("order within a TimeTick of %d messages: too far out of order to compare each with each", v.window.unjudged)})
	}
}

// The words of InvariantResult.Status.
const (
	statusHold      = "hold"
	statusBroken    = "broken"
	statusUnchecked = "not checked"
)

func (v *verifier) verdict() []InvariantResult {
	out := make([]InvariantResult, 0, len(invariantTitles)-1)
	for n := 1; n < len(invariantTitles); n++ {
		r := InvariantResult{Number: n, Title: invariantTitles[n], Status: statusHold}
		checks := ofInvariant(n)
		for _, c := range checks {
			if c.Severity > SeverityWarning && v.found.counts[c] > 0 {
				r.Status = statusBroken
			}
		}
		if r.Status == statusHold {
			if r.Why = v.whyNot(checks); r.Why != "" {
				r.Status = statusUnchecked
			}
		}
		out = append(out, r)
	}
	return out
}

// whyNot tells why an invariant could not be judged, by what one of its checks
// needs and did not get; "" where it was.
func (v *verifier) whyNot(checks []*Check) string {
	if v.records == 0 {
		return "the log is empty"
	}
	lacking := v.lacking()
	for _, c := range checks {
		if n := c.Needs & lacking; n != 0 {
			if n&check.NeedCheckpoint != 0 && v.opts.Flushed != nil { // LivePositions of a catalog
				return "the catalog holds no checkpoint of this log"
			}
			return n.Lacking()
		}
	}
	return ""
}

// lacking is what the pass did not get. Of payloads and of the coordinator's term
// an invariant does not depend: its other checks judge it.
func (v *verifier) lacking() (n check.Need) {
	if v.opts.Checkpoint == nil {
		n |= check.NeedCheckpoint
	}
	if v.waiveLC {
		n |= check.NeedWriter267
	}
	if v.backend != message.BackendPulsar && v.backend != message.BackendWoodpecker {
		n |= check.NeedEntries
	}
	if v.replicate.role == roleUnknown {
		n |= check.NeedRole
	}
	return n
}

var unreadable = &Check{
	Code: "unreadable", Severity: SeverityCritical, Invariant: 16,
	Title:   "a place that cannot be read",
	Meaning: "What lies there is unknown; everything else was judged.",
	Cause:   "Damage on disk or in the copy.",
	Do:      "Read it from another replica or capture it again.",
}

var tornTail = &Check{
	Code: "torn-tail", Severity: SeverityInfo,
	Title:   "the log stops in the middle of a record",
	Meaning: "The last append was not finished; nothing that was confirmed is lost.",
	Cause:   "A crash while writing.",
	Do:      "Nothing: the next opening goes on after it.",
}

var unconfirmedTail = &Check{
	Code: "unconfirmed-tail", Severity: SeverityInfo,
	Title:   "messages after the last TimeTick",
	Meaning: "No reader delivers them yet. The next opening's TimeTick confirms them.",
	Cause:   "The log ended, or its node stopped, before the next TimeTick.",
	Do:      "Nothing while the node is running.",
}

var partialStart = &Check{
	Code: "partial-start", Severity: SeverityInfo,
	Title:   "the log starts in the middle",
	Meaning: "What began before its first record (segments, transactions, vchannels) is taken as found.",
	Cause:   "Retention or truncation removed the start, or --from cut it.",
	Do:      "Nothing.",
}

// NotChecked is the finding that something could not be looked at, and why.
func NotChecked(pchannel, why string) Finding {
	f := Found(notChecked, Where{PChannel: pchannel}, Evidence{"what", why})
	f.Count = 1
	return f
}

// Unchecked lists what findings say was not looked at.
func Unchecked(all []Finding) []string {
	var why []string
	for i := range all {
		if all[i].Code == notChecked.Code && len(all[i].Evidence) > 0 {
			why = append(why, all[i].Evidence[0].Value)
		}
	}
	return why
}

var notChecked = &Check{
	Code: "not-checked", Severity: SeverityInfo,
	Title:   "something could not be judged",
	Meaning: "A rule needs what was not given or what the log does not hold.",
	Cause:   "Named in the finding.",
	Do:      "Give what is missing and run again.",
}
