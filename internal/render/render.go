// Package render is how walctl's answers look: tables, numbers a person reads,
// findings, JSON. It alone imports tablewriter and lipgloss. Everything it
// prints goes to the writer it is given.
package render

import (
	"encoding/json"
	"io"
	"time"

	"github.com/walctl/walctl/pkg/diagnose"
)

// Schema is the version of every JSON answer.
const Schema = "walctl/v1"

// Style says how answers for a person look. Off a terminal, tables are
// tab-separated with RFC 3339 times and raw numbers.
type Style struct {
	Terminal bool
	Wide     bool
	Color    bool
	Width    int       // columns of the terminal, 0 = unknown
	Now      time.Time // for "expires in"
}

// Header opens every JSON answer. Embed it; the command's own fields stand beside.
type Header struct {
	Schema   string             `json:"schema"`
	Command  string             `json:"command"`
	WAL      WAL                `json:"wal"`
	Findings []diagnose.Finding `json:"findings"`
}

// WAL names the log an answer is about.
type WAL struct {
	PChannel string `json:"pchannel,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Location string `json:"location,omitempty"`
	Backend  string `json:"backend,omitempty"`
	Held     *Held  `json:"held,omitempty"` // of an archive: how much of its log it holds
}

// Held is how much of its log a copy holds.
type Held struct {
	Whole  bool   `json:"whole"`
	Ended  string `json:"ended,omitempty"` // complete, limited, interrupted, disk-full, source-lost, following; "" = it does not tell
	From   string `json:"from,omitempty"`  // where it was told to begin; "" = the log's first record
	To     string `json:"to,omitempty"`    // the last id it holds
	Of     string `json:"of,omitempty"`    // the log's last id when the capture was begun
	Detail string `json:"detail,omitempty"`

	NoPayload bool `json:"no_payload,omitempty"` // payload/ is not there: what messages carry cannot be read

	Resume string `json:"resume,omitempty"` // the command that goes on with it, without connection flags
}

// Words say what a copy lacks; "" where it lacks nothing.
func (h *Held) Words() string {
	switch {
	case h.Whole && h.From != "":
		return "captured from " + h.From + " on, as it was told"
	case h.Whole:
		return ""
	case h.From != "":
		return h.Detail + "; it was told to begin at " + h.From
	}
	return h.Detail
}

// NewHeader returns a header with an empty, not a missing, list of findings.
func NewHeader(command string, wal WAL, findings []diagnose.Finding) Header {
	if findings == nil {
		findings = []diagnose.Finding{}
	}
	return Header{Schema: Schema, Command: command, WAL: wal, Findings: findings}
}

// JSON writes one answer, indented, ids and names as they are.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// NDJSON writes one value on one line.
func NDJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Lines writes values as NDJSON, one a line.
func Lines[T any](w io.Writer, values []T) error {
	for i := range values {
		if err := NDJSON(w, values[i]); err != nil {
			return err
		}
	}
	return nil
}
