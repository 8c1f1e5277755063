package recovery

import (
	"strconv"
	"strings"
)

// Verdict says whether a node of a line would get this WAL open.
type Verdict struct {
	Line Line
	// Succeeds is false where something stops the node: Obstacle, the first it meets.
	Succeeds bool
	Obstacle *Issue
}

// Issues returns what a restart meets: where the tail was replayed, what lies
// there too.
func (r *Result) Issues() *Issues {
	if r.Tail != nil {
		return r.Tail.Next.Issues()
	}
	return r.State.Issues()
}

// Verdicts judges every line whose rules are known, oldest first.
func (r *Result) Verdicts() []Verdict {
	out := make([]Verdict, 0, 2)
	for _, l := range []Line{Line26, Line30} {
		o := r.Issues().FirstObstacle(l)
		out = append(out, Verdict{Line: l, Succeeds: o == nil, Obstacle: o})
	}
	return out
}

// Obstacle returns what stops a node of the line first, nil where nothing does. Where
// the line is not known (0) that is what stops every line.
func (r *Result) Obstacle(l Line) *Issue {
	if l != 0 {
		return r.Issues().FirstObstacle(l)
	}
	var last *Issue
	for _, v := range r.Verdicts() {
		if v.Succeeds {
			return nil
		}
		last = v.Obstacle
	}
	return last
}

// StopsNode reports whether an issue stops a node of the line; where none is known
// (0), whether it stops every line.
func (i *Issue) StopsNode(l Line) bool {
	if l == 0 {
		return i.Stops == AllLines
	}
	return i.Stops&l != 0
}

// LacksPayloads counts the definitions that this copy of the log has without their
// payloads.
func (r *Result) LacksPayloads() int64 {
	for _, n := range r.Issues().Counts() {
		if n.Code == CodePayloadAbsent {
			return n.Messages
		}
	}
	return 0
}

// LineOf returns the release line of a Milvus version ("2.6.14", "v3.0.1"), 0
// where its rules are not known.
func LineOf(version string) Line {
	if len(version) > 0 && version[0] == 'v' {
		version = version[1:]
	}
	switch {
	case hasLine(version, "2.6"):
		return Line26
	case hasLine(version, "3.0"):
		return Line30
	}
	return 0
}

// patchOf returns the third number of a version, false where it names none.
func patchOf(version string) (int, bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 3 {
		return 0, false
	}
	digits, _, _ := strings.Cut(parts[2], "-")
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

func hasLine(version, line string) bool {
	return version == line || len(version) > len(line) && version[:len(line)+1] == line+"."
}
