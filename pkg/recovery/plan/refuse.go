package plan

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels for the caller to test.
var (
	// ErrRefused: a precondition does not hold. Every *RefusedError is one.
	ErrRefused = errors.New("refused")
	// ErrNotConfirmed: the caller did not say yes, or gave no reason.
	ErrNotConfirmed = errors.New("not confirmed")
	// ErrCorrupt: a plan file or a journal cannot be read.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnknownOutcome: the catalog did not say whether the last transaction was
	// committed. Running the same again finds out and goes on.
	ErrUnknownOutcome = errors.New("not known whether the last transaction was written")
	// ErrNoJournal: there is no journal of that name.
	ErrNoJournal = errors.New("no such journal")
)

// The codes of a Refusal: stable words.
const (
	CodePlanSchema      = "plan-schema"       // made by another walctl
	CodeTampered        = "plan-tampered"     // digest does not match
	CodeNotApplicable   = "not-applicable"    // the plan itself says so
	CodeOtherCluster    = "other-cluster"     // cluster id or root differ
	CodeOtherLog        = "other-log"         // topic or ledgers differ
	CodeLogMoved        = "log-moved"         // the log's end is not where it was
	CodeLogEmpty        = "log-empty"         // the log holds no record any more
	CodeLogLost         = "log-lost"          // records the plan was made from are gone
	CodePositionGone    = "position-gone"     // a position that is written is not in the log
	CodeLiveSession     = "live-session"      // a Milvus process lives
	CodeLiveProducer    = "live-producer"     // somebody may write to the topic
	CodeUnlisted        = "cannot-be-listed"  // what would show a live owner cannot be seen
	CodeChanged         = "catalog-changed"   // a key is at another revision
	CodeAppliedBefore   = "applied-before"    // this plan's journal is closed
	CodeHalfDone        = "half-done"         // another plan's journal is open
	CodeRaced           = "raced"             // another walctl moves the same journal
	CodeForeignKey      = "foreign-key"       // a key that the plan's repairs do not write
	CodeNotRoundTrip    = "not-round-trip"    // a value would lose bytes
	CodeNoPermission    = "no-permission"     // the credentials may not write
	CodeNoMilvusVersion = "no-milvus-version" // whose rules to follow is not known
	CodeMilvusRan       = "milvus-has-run"    // undo: the result was changed since
)

// Refusal is one reason not to go on.
type Refusal struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"` // what to do about it
	// Seen is false for what merely cannot be listed; only that can be overridden.
	Seen bool `json:"seen"`
}

// RefusedError is why a plan was not applied or undone.
type RefusedError struct {
	Reasons []Refusal
	// Written is how many transactions of the plan stand in the catalog already;
	// Journal is then the id to undo or to go on with.
	Written int
	Journal string
	cause   error
}

// Error implements error: every reason, with what to do.
func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString("refused")
	for _, r := range e.Reasons {
		fmt.Fprintf(&b, "\n  %s: %s", r.Code, r.Detail)
		if r.Next != "" {
			fmt.Fprintf(&b, " (%s)", r.Next)
		}
	}
	switch {
	case e.Written > 0 && e.Has(CodeAppliedBefore):
		fmt.Fprintf(&b, "\n  what was applied stands in journal %s", e.Journal)
	case e.Written > 0:
		fmt.Fprintf(&b, "\n  written so far: %d of its transactions, in journal %s; apply the plan again, or undo the journal", e.Written, e.Journal)
	default:
		b.WriteString("\n  nothing was written")
	}
	return b.String()
}

// Is makes every RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Unwrap returns what the catalog said, if anything.
func (e *RefusedError) Unwrap() error { return e.cause }

// Has reports whether a reason has the code.
func (e *RefusedError) Has(code string) bool {
	for _, r := range e.Reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}

func refuse(code, detail, next string) *RefusedError {
	return &RefusedError{Reasons: []Refusal{{Code: code, Detail: detail, Next: next, Seen: true}}}
}

type refusals []Refusal

func (r *refusals) seen(code, next, format string, args ...any) {
	*r = append(*r, Refusal{Code: code, Detail: fmt.Sprintf(format, args...), Next: next, Seen: true})
}

func (r *refusals) unlisted(next, format string, args ...any) {
	*r = append(*r, Refusal{Code: CodeUnlisted, Detail: fmt.Sprintf(format, args...), Next: next})
}

// denied adds that the catalog does not let these credentials write.
func (r *refusals) denied(err error) {
	r.seen(CodeNoPermission, "use credentials that may write: --etcd-write-user", "%s", err)
}

// err returns the reasons left when what cannot be listed is overridden.
func (r refusals) err(override bool) error {
	var left []Refusal
	for _, x := range r {
		if x.Seen || !override {
			left = append(left, x)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &RefusedError{Reasons: left}
}
