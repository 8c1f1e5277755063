// Package check says what a check is: one value with everything walctl knows of a
// code. The values stand beside the rules that raise them; diagnose.Checks lists
// them all. `walctl explain`, docs/findings.md, what is not checked and, by the
// severity, the exit codes are made of them.
package check

import "strings"

// Severity orders findings: info never makes a command fail by default.
type Severity uint8

// The severities, lowest first. Warning is what may need a look, Error what loses
// or hides data, Critical what is being lost now.
const (
	Info Severity = iota
	Warning
	Error
	Critical
)

// String returns the word used in JSON and by --fail-on.
func (s Severity) String() string {
	return [...]string{"info", "warning", "error", "critical"}[min(s, Critical)]
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Check is one thing walctl may report. The first six fields are what `walctl
// explain CODE` prints.
type Check struct {
	Code    string   `json:"code"`    // stable
	Title   string   `json:"title"`   // a few words
	Meaning string   `json:"meaning"` // what it means for data; one or two sentences
	Cause   string   `json:"cause"`
	Do      string   `json:"do"`
	Threads []string `json:"threads,omitempty"` // upstream, as milvus#NUMBER

	Severity Severity `json:"-"` // of a finding
	Else     Else     `json:"-"` // its severity in the other case, if there is one
	// Invariant of docs/rules.md#invariants the check belongs to, 1–16; 0 = none.
	Invariant int  `json:"-"`
	Needs     Need `json:"-"`
	// Says is a finding's meaning where it is shorter than Meaning, "" = Meaning.
	Says string `json:"-"`
	Kind Kind   `json:"-"`
}

// Else is the severity a check has in the case that Where names, in words that
// follow "where".
type Else struct {
	Severity Severity
	Where    string
}

// Stops is the other case of what may stop a node while it recovers.
var Stops = Else{Critical, "it stops a node of the version asked about"}

// Kind tells what a code is a code of.
type Kind uint8

// The kinds. Finding is what a command reports in its findings. Problem is a key of
// the catalog that is not as Milvus leaves it. Refusal is why a plan was not
// applied or undone. Retired is a code of older versions, reported as another now.
const (
	Finding Kind = iota
	Problem
	Refusal
	Retired
)

// Brief is the meaning a finding carries.
func (c *Check) Brief() string {
	if c.Says != "" {
		return c.Says
	}
	return c.Meaning
}

// SeverityWhere is the severity in the other case, or where there is none.
func (c *Check) SeverityWhere(other bool) Severity {
	if other && c.Else.Where != "" {
		return c.Else.Severity
	}
	return c.Severity
}

// Need says what a check cannot run without, beside the log.
type Need uint16

// The needs. NeedCheckpoint is a catalog, with the WAL's consume checkpoint.
// NeedEntries are ids that count entries (Pulsar, Woodpecker). NeedWriter267 is a
// writer from 2.6.7 on, before which last confirmed ids could be wrong. NeedRole is
// that the log tells this cluster's part in replication. NeedPayload are the
// payloads; NeedCatalog, NeedAdmin, NeedMetrics and NeedMilvusLog are what the
// commands ask beside the log, NeedMemory is what a node has.
const (
	NeedCheckpoint Need = 1 << iota
	NeedEntries
	NeedWriter267
	NeedRole
	NeedPayload
	NeedCatalog
	NeedAdmin
	NeedMetrics
	NeedMilvusLog
	NeedMemory
	needEnd
)

// needWords are what a need is, and what is said of an invariant that could not
// be judged without it.
var needWords = map[Need]struct{ is, lacking string }{
	NeedCheckpoint: {"a catalog with the checkpoint", "no catalog"},
	NeedEntries:    {"ids that count entries (Pulsar, Woodpecker)", "offsets of this log need not be contiguous"},
	NeedWriter267:  {"a writer from 2.6.7 on", "the writer is older than 2.6.7, whose last confirmed ids can be wrong"},
	NeedRole:       {"this cluster's role in replication", "the log starts in the middle and no replicate configuration tells this cluster's role"},
	NeedPayload:    {"the payloads", "no payloads"},
	NeedCatalog:    {"a catalog", "no catalog"},
	NeedAdmin:      {"the broker's admin service", "no admin service"},
	NeedMetrics:    {"metrics of the live nodes", "no metrics"},
	NeedMilvusLog:  {"a log of Milvus", "no log of Milvus"},
	NeedMemory:     {"a node's memory", "a node's memory is not known"},
}

// String names what is needed.
func (n Need) String() string {
	var words []string
	for one := Need(1); one < needEnd; one <<= 1 {
		if n&one != 0 {
			words = append(words, needWords[one].is)
		}
	}
	return strings.Join(words, ", ")
}

// Lacking says, of the first need, that it was not there: the words of what was
// not checked.
func (n Need) Lacking() string {
	for one := Need(1); one < needEnd; one <<= 1 {
		if n&one != 0 {
			return needWords[one].lacking
		}
	}
	return ""
}
