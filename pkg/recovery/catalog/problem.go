package catalog

import (
	"errors"
	"fmt"

	"github.com/walctl/walctl/pkg/check"
)

// The codes of a Problem: stable words, part of the JSON contract.
const (
	// CodeUndecodable: the value is no valid protobuf of its type. Fatal: Milvus
	// gives up opening the WAL.
	CodeUndecodable = "value-undecodable"
	// CodeTooLarge: the value is larger than MaxValueSize and was not decoded.
	CodeTooLarge = "value-too-large"
	// CodeNotRoundTrip: decoding and encoding the value again gives other bytes,
	// so walctl shows it but never rewrites it.
	CodeNotRoundTrip = "value-not-round-trip"
	// CodeNoSchema: a vchannel's base key without any schema key. Fatal: Milvus panics.
	CodeNoSchema = "vchannel-no-schema"
	// CodeNoCollectionInfo: a vchannel value without its collection. Fatal: Milvus panics.
	CodeNoCollectionInfo = "vchannel-no-collection"
	// CodeOrphanSchema: a schema key whose vchannel has no base key. Milvus ignores it.
	CodeOrphanSchema = "schema-orphan"
	// CodeNameMismatch: the value names something other than its key does.
	CodeNameMismatch = "name-mismatch"
	// CodeUnknownKey: a key below the WAL's prefix that no version known to walctl writes.
	CodeUnknownKey = "key-unknown"
	// CodeSlashedKey: a singleton in the spelling of 2.6.13–2.6.15.
	CodeSlashedKey = "key-trailing-slash"
)

// Problem is one key that is not as a healthy Milvus leaves it.
type Problem struct {
	Key    string `json:"key"` // relative to the root
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Fatal  bool   `json:"fatal"` // a node that loads this key stops there

	// PChannel and VChannel are whom a problem of several keys concerns (CrossCheck).
	PChannel string `json:"pchannel,omitempty"`
	VChannel string `json:"vchannel,omitempty"`
}

// String returns the problem in one line.
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Key, p.Code, p.Detail) }

// Sentinels for the caller to test.
var (
	// ErrNotFound: there is no catalog at that place.
	ErrNotFound = errors.New("no such catalog")
	// ErrReadOnly: the catalog was opened for reading, or can only be read.
	ErrReadOnly = errors.New("catalog is read-only")
	// ErrUnavailable: the catalog did not answer, so nothing is known of it.
	ErrUnavailable = errors.New("catalog not reachable")
	// ErrDenied: the credentials do not allow it.
	ErrDenied = errors.New("permission denied")
	// ErrTooLarge: a transaction or value is larger than the catalog takes.
	ErrTooLarge = errors.New("too large")
	// ErrCorrupt: the catalog's own file cannot be read.
	ErrCorrupt = errors.New("corrupt catalog")
)

// CheckNoSchema finds a registered vchannel without a schema.
var CheckNoSchema = &check.Check{
	Code: CodeNoSchema, Severity: check.Critical, Needs: check.NeedCatalog,
	Title:   "a registered vchannel without a schema",
	Says:    "Milvus panics when it loads this vchannel",
	Meaning: "Every node that loads the catalog panics at this vchannel.",
	Cause:   "Vchannel and schema are two keys, and a large save is not one transaction: it was cut off between them.",
	Do:      "recover and channels repair take the schema from the log, from the vchannel's own value, or from RootCoord, in that order; where none has it the plan says that it does not cure this.",
	Threads: []string{"milvus#46214", "milvus#43597"},
}

// CheckOrphanSchema finds a schema key without its vchannel.
var CheckOrphanSchema = &check.Check{
	Code: CodeOrphanSchema, Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a schema key without its vchannel",
	Says:    "schema keys without their vchannel, left by a write that was cut off; Milvus ignores them",
	Meaning: "Milvus ignores it.",
	Cause:   "A removal that was cut off.",
	Do:      "channels repair removes it; nothing depends on it.",
}

var problemUndecodable = &check.Check{
	Code: CodeUndecodable, Severity: check.Critical, Kind: check.Problem,
	Title:   "a value that cannot be decoded",
	Meaning: "Milvus gives up opening the WAL at a value of the WAL that it cannot decode.",
	Cause:   "An edit by hand, a write that was cut off, or damage.",
	Do:      "Look at the key with catalog show; compare with an older snapshot of etcd. A session like this counts as a living one.",
}

var problemTooLarge = &check.Check{
	Code: CodeTooLarge, Severity: check.Error, Kind: check.Problem,
	Title:   "a value larger than any Milvus writes",
	Meaning: "It was not decoded: what it holds is not known here.",
	Cause:   "Damage, or a key that is not Milvus's.",
	Do:      "Look at the key with etcdctl.",
}

var problemNotRoundTrip = &check.Check{
	Code: CodeNotRoundTrip, Severity: check.Warning, Kind: check.Problem,
	Title:   "a value with bytes that walctl does not know",
	Meaning: "Decoding it and encoding it again gives other bytes. It is shown, and never rewritten.",
	Cause:   "A Milvus newer than walctl wrote it.",
	Do:      "Use a walctl that knows the version; nothing has to be done for Milvus.",
}

var problemNoCollectionInfo = &check.Check{
	Code: CodeNoCollectionInfo, Severity: check.Critical, Kind: check.Problem,
	Title:   "a registered vchannel without its collection",
	Meaning: "Every node that loads the catalog panics at this vchannel.",
	Cause:   "An edit by hand, or damage.",
	Do:      "Take the value from an older snapshot of etcd.",
}

var problemNameMismatch = &check.Check{
	Code: CodeNameMismatch, Severity: check.Error, Kind: check.Problem,
	Title:   "a value that names something else than its key",
	Meaning: "Milvus goes by one of the two: what the other names is not where it is looked for.",
	Cause:   "A key copied by hand, or a restore under another name.",
	Do:      "Compare key and value with catalog show.",
}

var problemUnknownKey = &check.Check{
	Code: CodeUnknownKey, Severity: check.Warning, Kind: check.Problem,
	Title:   "a key that no known version of Milvus writes",
	Meaning: "It is passed over, and never written.",
	Cause:   "A Milvus newer than walctl, or another program below the same root.",
	Do:      "Find out who writes it.",
}

var problemSlashedKey = &check.Check{
	Code: CodeSlashedKey, Severity: check.Warning, Kind: check.Problem,
	Title:   "a key in the spelling of 2.6.13 to 2.6.15",
	Meaning: "These versions end the key with a slash; others do not find it there.",
	Cause:   "An upgrade or a downgrade across these versions.",
	Do:      "Start the version that wrote it, or one that reads both spellings.",
}

// checks are what the catalog's keys show. Read only.
var checks = [...]*check.Check{CheckNoSchema, CheckOrphanSchema, CheckUnassigned, CheckNoReplicating, CheckReplicateLocal,
	problemUndecodable, problemTooLarge, problemNotRoundTrip, problemNoCollectionInfo, problemNameMismatch, problemUnknownKey, problemSlashedKey}

// Check returns what is known of the problem's code.
func (p Problem) Check() *check.Check {
	for _, c := range checks {
		if c.Code == p.Code {
			return c
		}
	}
	return &check.Check{Code: p.Code, Severity: check.Error}
}

// Checks lists what the catalog's keys can show.
func Checks() []*check.Check { return checks[:] }
