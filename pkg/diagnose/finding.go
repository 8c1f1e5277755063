// Package diagnose turns what a log and its metadata say into findings: checks
// with stable codes, each with its place, evidence, meaning and next command.
package diagnose

import "github.com/walctl/walctl/pkg/walreader/message"

// Severity orders findings: info never makes a command fail by default.
type Severity uint8

// The severities, lowest first. SeverityWarning is what may need a look,
// SeverityError what loses or hides data, SeverityCritical what is being lost now.
const (
	SeverityInfo Severity = iota
	SeverityWarning
	SeverityError
	SeverityCritical
)

// String returns the word used in JSON and by --fail-on.
func (s Severity) String() string {
	return [...]string{"info", "warning", "error", "critical"}[min(s, SeverityCritical)]
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing a check has to say. Field names are part of the JSON
// contract (docs/formats.md).
type Finding struct {
	Code     string     `json:"code"` // stable; `walctl explain CODE`
	Severity Severity   `json:"severity"`
	Where    Where      `json:"where"`
	Evidence []Evidence `json:"evidence,omitempty"`
	Meaning  string     `json:"meaning"`
	Next     string     `json:"next,omitempty"` // the exact next command, without credentials
	Count    int64      `json:"count,omitempty"`
}

// Where is the place a finding speaks of; empty parts do not apply.
type Where struct {
	PChannel string `json:"pchannel,omitempty"`
	VChannel string `json:"vchannel,omitempty"`
	ID       string `json:"id,omitempty"`
	To       string `json:"to,omitempty"` // the last id where it is a stretch
	TimeTick uint64 `json:"time_tick,omitempty,string"`
	Key      string `json:"key,omitempty"` // catalog key, relative to the root
}

// Evidence is one named observation behind a finding.
type Evidence struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// At returns the place of a message.
func At(m *message.Message) Where {
	return Where{VChannel: m.VChannel, ID: m.ID.String(), TimeTick: m.TimeTick}
}
