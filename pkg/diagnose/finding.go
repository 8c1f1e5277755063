// Package diagnose turns what a log and its metadata say into findings: checks
// with stable codes, each with its place, evidence, meaning and next command.
package diagnose

import (
	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Severity orders findings: info never makes a command fail by default.
type Severity = check.Severity

// The severities, lowest first; check says what each means.
const (
	SeverityInfo     = check.Info
	SeverityWarning  = check.Warning
	SeverityError    = check.Error
	SeverityCritical = check.Critical
)

// Check is one thing walctl may report.
type Check = check.Check

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

// Found starts a finding of a check: there is no other way to make one.
func Found(c *Check, w Where, seen ...Evidence) Finding { return raise(c, false, w, seen) }

// FoundElse starts a finding in the check's other case, which has its own severity.
func FoundElse(c *Check, w Where, seen ...Evidence) Finding { return raise(c, true, w, seen) }

// FoundIssue makes a finding of what a replay met. stops says that it stops a node
// of the version asked about.
func FoundIssue(i *recovery.Issue, pchannel string, stops bool) Finding {
	w := Where{PChannel: pchannel, VChannel: i.VChannel, ID: i.ID, TimeTick: i.TimeTick, Key: i.Key}
	if i.VChannel != "" || i.Key != "" {
		w.PChannel = "" // its name says it
	}
	f := Found(recovery.CheckOf(i.Code), w)
	f.Severity = i.Severity(stops)
	if i.Detail != "" {
		f.Evidence = append(f.Evidence, Evidence{Name: "seen", Value: i.Detail})
	}
	return f
}

func raise(c *Check, other bool, w Where, seen []Evidence) Finding {
	return Finding{Code: c.Code, Severity: c.SeverityWhere(other), Where: w, Evidence: seen, Meaning: c.Brief()}
}
