package diagnose

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The verdicts on a scanner.
const (
	ScannerTailing    = "tailing"
	ScannerCatchingUp = "catching up"
	ScannerPaused     = "paused"
	ScannerStuck      = "stuck"
)

// ScannerLook is one scanner or reader of a pchannel in a moment. No metric names the
// scanners that tail: they stand together, a line a node. −1 in a lag = not known.
type ScannerLook struct {
	PChannel string `json:"pchannel"`
	Name     string `json:"name"` // what it calls itself at the broker; "tailing", "flusher"
	Node     string `json:"node,omitempty"`
	Term     int64  `json:"term,omitempty"`
	Count    int    `json:"count"`
	Mode     string `json:"mode"`               // catchup, tailing, recovery
	Position string `json:"position,omitempty"` // what it reads next
	// The lags are against the last record of the log: an idle log is no lag.
	LagMessages int64   `json:"lag_messages"`
	LagBytes    int64   `json:"lag_bytes"`
	LagSeconds  float64 `json:"lag_seconds"`
	// EndsIn is when a catch-up ends at the pace between two looks, seconds; −1 = not known.
	EndsIn  float64 `json:"ends_in_seconds"`
	Verdict string  `json:"verdict"`
	Cause   string  `json:"cause,omitempty"` // a finding's code, or what holds it in words
}

// Scanners lists the scanners and readers of every pchannel, with what the moment's
// findings say of them.
func Scanners(m *Moment, findings []Finding) []ScannerLook {
	out := []ScannerLook{}
	for _, p := range m.PChannels() {
		j := scannerJudge{momentJudge: momentJudge{m: m, p: p, wals: m.of(p)}, codes: map[string]bool{}}
		for _, f := range findings {
			if PChannelOf(f.Where) == p && f.Severity > SeverityInfo {
				j.codes[f.Code] = true
			}
		}
		for _, r := range j.topic().Readers {
			out = append(out, j.reader(r))
		}
		for _, w := range j.wals {
			out = append(out, j.ofNode(w)...)
		}
	}
	return out
}

// scannerJudge is a moment's judge that knows what was found of the pchannel.
type scannerJudge struct {
	momentJudge
	codes map[string]bool
}

// reader judges a reader that the broker names.
func (j *scannerJudge) reader(r TopicReader) ScannerLook {
	s := ScannerLook{
		PChannel: j.p, Name: r.Consumer, Count: 1, Mode: "catchup", LagMessages: r.Backlog, LagBytes: r.Bytes,
		LagSeconds: -1, EndsIn: -1, Verdict: ScannerCatchingUp,
		Position: strings.Replace(j.topic().Cursors[r.Subscription].Read, ":", "/", 1),
	}
	if r.Backlog == 0 {
		s.LagBytes, s.LagSeconds = 0, 0
	}
	name := scannerName.FindStringSubmatch(r.Consumer)
	newest := int64(0)
	for _, w := range j.wals {
		newest = max(newest, w.Term)
	}
	switch {
	case r.Consumer == "recovery":
		s.Mode = "recovery"
		if j.codes[walInRecovery.Code] {
			s.Verdict, s.Cause = ScannerStuck, walInRecovery.Code
		}
	case name == nil:
		s.Mode = "other"
	default:
		s.Term, _ = strconv.ParseInt(name[2], 10, 64)
		if w := j.ofTerm(s.Term); w != nil {
			s.Node = w.Node
		}
		switch {
		case s.Term < newest:
			s.Cause = "its term is over: the newest is " + strconv.FormatInt(newest, 10)
		case r.Permits > 0 && j.topic().atEnd(r) && j.codes[scannerStuck.Code]:
			s.Verdict, s.Cause = ScannerStuck, scannerStuck.Code
		case j.paused():
			s.Verdict, s.Cause = ScannerPaused, "streaming.walScanner.pauseConsumption"
		}
	}
	if s.Verdict == ScannerCatchingUp && r.Backlog > 0 {
		s.EndsIn = j.endsIn(r.Backlog)
	}
	return s
}

func (j *scannerJudge) ofTerm(term int64) *WALGauges {
	for _, w := range j.wals {
		if w.Term == term {
			return w
		}
	}
	return nil
}

func (j *scannerJudge) paused() bool {
	return slices.ContainsFunc(j.wals, func(w *WALGauges) bool { return w.Paused > 0 })
}

// endsIn is how long a backlog takes at the pace between two looks, where one scanner alone
// catches up.
func (j *scannerJudge) endsIn(backlog int64) float64 {
	if len(j.wals) != 1 || j.wals[0].CatchUp != 1 {
		return -1
	}
	w := j.wals[0]
	b := j.before(w)
	if b == nil || w.CatchUpRead <= b.CatchUpRead || w.Confirmed <= b.Confirmed {
		return -1
	}
	return float64(backlog) * (w.Confirmed - b.Confirmed) / (w.CatchUpRead - b.CatchUpRead)
}

// ofNode judges what a node's metrics alone tell of a WAL's scanners.
func (j *scannerJudge) ofNode(w *WALGauges) []ScannerLook {
	look := ScannerLook{PChannel: j.p, Node: w.Node, Term: w.Term, LagMessages: -1, LagBytes: -1, LagSeconds: -1, EndsIn: -1}
	var out []ScannerLook
	if named := len(j.topic().Readers); !j.topic().Stats && w.CatchUp > 0 || j.topic().Stats && named == 0 && w.CatchUp > 0 {
		s := look
		s.Name, s.Count, s.Mode, s.Verdict = "catchup", int(w.CatchUp), "catchup", ScannerCatchingUp
		switch {
		case !w.Open:
			s.Name, s.Mode = "recovery", "recovery"
			s.held(j.codes, walInRecovery)
		default:
			s.held(j.codes, scannerStuck)
		}
		out = append(out, s)
	}
	if w.Tailing > 0 {
		s := look
		s.Name, s.Count, s.Mode, s.Verdict = "tailing", int(w.Tailing), "tailing", ScannerTailing
		s.held(j.codes, appendNotAcknowledged)
		if s.Cause == "" && j.codes[walOwnedTwice.Code] {
			s.Cause = walOwnedTwice.Code
		}
		out = append(out, s)
	}
	if w.Flusher != "" && w.Open {
		s := look
		s.Name, s.Count, s.Mode, s.Verdict = "flusher", 1, "tailing", ScannerTailing
		if w.Flusher == "in_recovery" {
			s.Mode, s.Verdict = "catchup", ScannerCatchingUp
		}
		if w.Flushed > 0 && w.Confirmed > 0 {
			s.LagSeconds = max(0, w.Confirmed-w.Flushed)
		}
		s.held(j.codes, cmp.Or(j.reduplicated(), flusherBlocked), appendNotAcknowledged)
		out = append(out, s)
	}
	return out
}

// reduplicated is the check of a flusher whose pipelines are not built, where that was found.
func (j *scannerJudge) reduplicated() *Check {
	if j.codes[channelReduplicates.Code] {
		return channelReduplicates
	}
	return nil
}

// held says that one of these was found, and holds the scanner.
func (s *ScannerLook) held(codes map[string]bool, by ...*Check) {
	for _, c := range by {
		if codes[c.Code] {
			s.Verdict, s.Cause = ScannerStuck, c.Code
			return
		}
	}
}
