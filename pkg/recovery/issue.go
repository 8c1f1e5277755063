package recovery

import (
	"slices"
	"sort"

	"github.com/walctl/walctl/pkg/check"
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

// Issue is one thing a recovery meets that a healthy log and catalog do not have.
type Issue struct {
	Code Code `json:"code"`
	// Stops names the lines on which a node does not get past this.
	Stops Line `json:"-"`
	// Legacy tells that the log holds nothing but messages from before streaming.
	Legacy bool `json:"-"`

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
func (i *Issue) Consequence() string { return CheckOf(i.Code).Brief() }

// Severity follows what an issue does: stopping a node that is asked about is
// critical, losing what the log held an error, what a healthy writer leaves behind
// is information. The check says which.
func (i *Issue) Severity(stops bool) check.Severity {
	c := CheckOf(i.Code)
	return c.SeverityWhere(stops && c.Else == check.Stops || i.Code == CodeCopyMissing || i.Legacy)
}

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
func Codes() []Code {
	var out []Code
	for _, c := range Checks() {
		if c.Kind == check.Finding {
			out = append(out, Code(c.Code))
		}
	}
	slices.Sort(out)
	return out
}

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
