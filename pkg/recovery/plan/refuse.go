package plan

import (
	"errors"
	"fmt"
	"strings"

	"github.com/walctl/walctl/pkg/check"
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

// refusalChecks are the checks of a plan's preconditions, but for position-gone, which
// recovery has too. Read only.
var refusalChecks = [...]*check.Check{
	{
		Code: CodePlanSchema, Severity: check.Error, Kind: check.Refusal,
		Title:   "a plan made by another version of walctl",
		Meaning: "Nothing was written: this version does not know how the plan is to be read.",
		Cause:   "The plan file is of an older or newer walctl.",
		Do:      "Make the plan again with this walctl.",
	},
	{
		Code: CodeTampered, Severity: check.Error, Kind: check.Refusal,
		Title:   "a plan that was changed after it was made",
		Meaning: "Nothing was written: the plan is not what was shown and confirmed.",
		Cause:   "An edit of the plan file, or a copy that is not whole.",
		Do:      "Make the plan again.",
	},
	{
		Code: CodeNotApplicable, Severity: check.Error, Kind: check.Refusal,
		Title:   "a plan that says itself that it must not be applied",
		Meaning: "Nothing was written: what the plan stands on was not proven.",
		Cause:   "Named in the plan: a gap in the log, a copy that is not whole, or a version that is not known.",
		Do:      "Put right what the plan names and make it again.",
	},
	{
		Code: CodeOtherCluster, Severity: check.Error, Kind: check.Refusal,
		Title:   "the catalog is not the one the plan was made for",
		Meaning: "Nothing was written.",
		Cause:   "Another etcd, another root, or a cluster that was set up again.",
		Do:      "Name the right catalog, or make a plan for this one.",
	},
	{
		Code: CodeOtherLog, Severity: check.Error, Kind: check.Refusal,
		Title:   "the log is not the one the plan was made from",
		Meaning: "Nothing was written.",
		Cause:   "The topic was made again, or another log has the name.",
		Do:      "Look which log lies there with inspect; make the plan again.",
	},
	{
		Code: CodeLogMoved, Severity: check.Error, Kind: check.Refusal,
		Title:   "the end of the log is not where it was",
		Meaning: "Nothing was written: what was written since is not in the plan.",
		Cause:   "Somebody wrote to the log after the plan was made.",
		Do:      "Make sure that no node runs; make the plan again.",
	},
	{
		Code: CodeLogEmpty, Severity: check.Error, Kind: check.Refusal,
		Title:   "the log holds no record any more",
		Meaning: "Nothing was written: nobody could read on from the positions of the plan.",
		Cause:   "Retention removed it, or the topic was made again.",
		Do:      "Look for a capture of the log. Do not start a node on the catalog.",
	},
	{
		Code: CodeLogLost, Severity: check.Error, Kind: check.Refusal,
		Title:   "records that the plan was made from are gone",
		Meaning: "Nothing was written.",
		Cause:   "Retention removed them since.",
		Do:      "Capture what is left; make the plan again.",
	},
	{
		Code: CodeLiveSession, Severity: check.Error, Kind: check.Refusal,
		Title:   "a Milvus process lives",
		Meaning: "Nothing was written: it would overwrite the catalog, or be surprised by it.",
		Cause:   "A node or coordinator that was not stopped, or whose lease has not run out.",
		Do:      "Stop Milvus, wait until its sessions are gone, and run the same again.",
	},
	{
		Code: CodeLiveProducer, Severity: check.Error, Kind: check.Refusal,
		Title:   "somebody may write to the topic",
		Meaning: "Nothing was written.",
		Cause:   "A streaming node, or a foreign producer, is connected to the topic.",
		Do:      "Stop it and run the same again.",
	},
	{
		Code: CodeUnlisted, Severity: check.Error, Kind: check.Refusal,
		Title:   "what would show a living owner cannot be seen",
		Meaning: "Nothing was written: nobody knows whether Milvus runs.",
		Cause:   "The credentials do not list sessions, or the admin service did not answer.",
		Do:      "Give credentials that may list them, or say that Milvus is stopped with the flag that the refusal names.",
	},
	{
		Code: CodeChanged, Severity: check.Error, Kind: check.Refusal,
		Title:   "a key was changed since the plan was made",
		Meaning: "Nothing was written: the plan stands on the old value.",
		Cause:   "Milvus, or a person, wrote to the catalog.",
		Do:      "Make sure that Milvus is stopped; make the plan again.",
	},
	{
		Code: CodeAppliedBefore, Severity: check.Error, Kind: check.Refusal,
		Title:   "the plan was applied before",
		Meaning: "Nothing was written.",
		Cause:   "Its journal is closed.",
		Do:      "Nothing; undo takes it back.",
	},
	{
		Code: CodeHalfDone, Severity: check.Error, Kind: check.Refusal,
		Title:   "another plan is half applied",
		Meaning: "Nothing was written: two plans at once would mix.",
		Cause:   "An apply or undo that was interrupted.",
		Do:      "Finish the other plan first: run it again, or undo it.",
	},
	{
		Code: CodeRaced, Severity: check.Error, Kind: check.Refusal,
		Title:   "another walctl works on the same journal",
		Meaning: "This one stopped.",
		Cause:   "Two people, or two runs, at the same plan.",
		Do:      "Wait for the other one; run the same again.",
	},
	{
		Code: CodeForeignKey, Severity: check.Error, Kind: check.Refusal,
		Title:   "a plan that writes a key its repairs do not write",
		Meaning: "Nothing was written.",
		Cause:   "An edit of the plan file, or a plan of another version.",
		Do:      "Make the plan again.",
	},
	{
		Code: CodeNotRoundTrip, Severity: check.Error, Kind: check.Refusal,
		Title:   "a value that would lose bytes",
		Meaning: "Nothing was written: rewriting the value would drop what walctl does not know.",
		Cause:   "A Milvus newer than walctl wrote it.",
		Do:      "Use a walctl that knows the version.",
	},
	{
		Code: CodeNoPermission, Severity: check.Error, Kind: check.Refusal,
		Title:   "the credentials may not write",
		Meaning: "Nothing was written.",
		Cause:   "A role that only reads, or not below this root.",
		Do:      "Give credentials that may write below the root.",
	},
	{
		Code: CodeNoMilvusVersion, Severity: check.Error, Kind: check.Refusal,
		Title:   "the version of Milvus is not known",
		Meaning: "Nothing was written: what a node makes of the result depends on it.",
		Cause:   "No session tells it and none was given.",
		Do:      "Name it with --milvus-version.",
	},
	{
		Code: CodeMilvusRan, Severity: check.Error, Kind: check.Refusal,
		Title:   "Milvus has run since the plan was applied",
		Meaning: "Nothing was taken back: undo would overwrite what it wrote.",
		Cause:   "A node was started on the result.",
		Do:      "Keep the result; make a new plan where something is wrong with it.",
	},
}

// Checks lists why a plan can be refused.
func Checks() []*check.Check { return refusalChecks[:] }
