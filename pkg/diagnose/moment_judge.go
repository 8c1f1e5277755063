package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// How long something stands still before it counts: a healthy flusher and a healthy
// TimeTick are at most a second or two late.
const (
	standsAfter = 4 * time.Second  // worth a look
	standsLong  = 30 * time.Second // no hiccup
	idleAfter   = time.Second      // without a TimeTick in the log
	opensWithin = 10 * time.Second // an opening's own share
)

// MomentReport is what the evidence of a moment tells.
type MomentReport struct {
	PChannels  []string  // judged
	Findings   []Finding // worst first
	NotChecked []string
}

// JudgeMoment says what is wrong in a moment, worst first, and what could not be
// looked at.
func JudgeMoment(m *Moment) MomentReport {
	j := momentJudge{m: m}
	out := MomentReport{PChannels: m.PChannels()}
	for _, p := range out.PChannels {
		j.p, j.wals = p, m.of(p)
		j.owners()
		j.recovering()
		j.appends()
		j.flusher()
		j.scanners()
	}
	j.symptoms()
	j.growing()
	for i := range j.out {
		j.out[i].Next = m.next(&j.out[i])
	}
	slices.SortStableFunc(j.out, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	out.Findings, out.NotChecked = j.out, m.notChecked()
	return out
}

type momentJudge struct {
	m    *Moment
	p    string
	wals []*WALGauges
	out  []Finding
}

func (j *momentJudge) add(f Finding) { j.out = append(j.out, f) }

// topic is what the broker says of the pchannel; without its answer, nothing.
func (j *momentJudge) topic() *TopicLook {
	if t := j.m.Topics[j.p]; t != nil {
		return t
	}
	return &TopicLook{}
}

// before is the earlier look at a WAL, of the same opening; nil where there is none.
func (j *momentJudge) before(w *WALGauges) *WALGauges {
	if b := j.m.Before[w.Node].WALs[w.PChannel]; b != nil && b.Term == w.Term {
		return b
	}
	return nil
}

// owners: two nodes may write.
func (j *momentJudge) owners() {
	var e []Evidence
	open, a := 0, j.m.Assigned[j.p]
	for _, w := range j.wals {
		if w.Open && a.Term != 0 && w.Term != 0 && w.Term != a.Term {
			j.add(Found(walTermDiffers, Where{PChannel: j.p}, Evidence{"node " + w.Node, fmt.Sprintf("term %d", w.Term)}, Evidence{"catalog", fmt.Sprintf("term %d", a.Term)}))
		}
		if w.Open {
			open++
			e = append(e, Evidence{"node " + w.Node, "term " + strconv.FormatInt(w.Term, 10)})
		}
		if w.Violations > 0 {
			e = append(e, Evidence{"too late for a TimeTick", count(w.Violations)})
		}
	}
	publishers := len(j.topic().Publishers)
	if open < 2 && publishers < 2 {
		return
	}
	if publishers > 1 {
		e = append(e, Evidence{"publishers", strconv.Itoa(publishers)})
	}
	if a.Node != "" {
		e = append(e, Evidence{"assigned to node", fmt.Sprintf("%s, term %d", a.Node, a.Term)})
	}
	j.add(Found(walOwnedTwice, Where{PChannel: j.p}, e...))
}

// recovering: an opening that does not end.
func (j *momentJudge) recovering() {
	if slices.ContainsFunc(j.wals, func(w *WALGauges) bool { return w.Open }) {
		return
	}
	for _, w := range j.wals {
		if w.Recovery == "" || w.Recovery == "working" {
			continue
		}
		e := []Evidence{{"node " + w.Node, fmt.Sprintf("term %d %s", w.Term, w.Recovery)}}
		if a := j.m.Assigned[j.p]; a.Term > w.Term {
			e = append(e, Evidence{"waits behind it", fmt.Sprintf("term %d", a.Term)})
		}
		stuck := false
		for _, r := range j.topic().Readers {
			if r.Consumer == "recovery" && r.Permits <= 0 && !j.topic().Cursors[r.Subscription].Waiting && w.Queued > 0 {
				e = append(e, Evidence{"recovery took", fmt.Sprintf("%d messages and no more, %d wait", r.Out, r.Backlog)})
				stuck = true
			}
		}
		if b := j.before(w); b != nil && b.Queued > 0 && b.Queued == w.Queued && b.CatchUpRead == w.CatchUpRead {
			e = append(e, Evidence{"between two looks", "read nothing"})
			stuck = true
		}
		if stuck {
			j.add(Found(walInRecovery, Where{PChannel: j.p}, e...))
		} else {
			j.add(FoundElse(walInRecovery, Where{PChannel: j.p}, e...))
		}
	}
}

// appends: something that was given a TimeTick is not acknowledged.
func (j *momentJudge) appends() {
	for _, w := range j.wals {
		if !w.Open {
			continue
		}
		t, gap := j.topic(), 0.0
		if w.Allocated > 0 && w.Confirmed > 0 {
			gap = w.Allocated - w.Confirmed
		}
		noPublisher := t.Stats && len(t.Publishers) == 0 && (w.Retries > 0 || gap > 0)
		b := j.before(w)
		stood := b != nil && b.Confirmed == w.Confirmed && b.TimeTicks == w.TimeTicks && (w.Retries > b.Retries || w.Allocated > b.Allocated)
		if !noPublisher && !stood && !older(gap, standsAfter) {
			continue
		}
		e := []Evidence{{"node " + w.Node, fmt.Sprintf("term %d", w.Term)}}
		if w.Retries > 0 {
			e = append(e, Evidence{"retries", count(w.Retries)})
		}
		if gap > 0 {
			e = append(e, Evidence{"allocated after confirmed by", seconds(gap)})
		}
		if noPublisher {
			e = append(e, Evidence{"publishers", "none: the broker refuses the producer"})
		}
		if stood {
			e = append(e, Evidence{"between two looks", "no TimeTick"})
		}
		j.add(Found(appendNotAcknowledged, Where{PChannel: j.p}, e...))
	}
}

// flusher: what reads for object storage stands still while the log goes on.
func (j *momentJudge) flusher() {
	for _, w := range j.wals {
		if !w.Open {
			continue
		}
		if w.Flusher == "in_recovery" {
			j.flusherOpening(w)
			continue
		}
		late, tasks := w.Confirmed-w.Flushed, j.m.node(w.Node).Tasks
		if w.Flushed == 0 || !older(late, standsAfter) || w.Queued == 0 && tasks == 0 {
			continue
		}
		b := j.before(w)
		moved := b != nil && b.Flushed > 0 && w.Flushed > b.Flushed && w.Confirmed-b.Confirmed <= w.Flushed-b.Flushed
		if moved || w.CatchUp > 0 && (b == nil || b.Flushed != w.Flushed) {
			continue // it works off what it missed
		}
		e := []Evidence{{"late by", seconds(late)}, {"queued", count(w.Queued) + " bytes"}}
		if tasks > 0 {
			e = append(e, Evidence{"held by", "a pipeline: " + count(tasks) + " writes of the node to object storage wait"})
		} else {
			e = append(e, Evidence{"held by", "no write to object storage: a broadcast that is not acknowledged"})
		}
		if older(late, standsLong) {
			j.add(Found(flusherBlocked, Where{PChannel: j.p}, e...))
		} else {
			j.add(FoundElse(flusherBlocked, Where{PChannel: j.p}, e...))
		}
	}
}

// flusherOpening: a flusher that never gets its pipelines built. The logs name it.
func (j *momentJudge) flusherOpening(w *WALGauges) {
	named := slices.ContainsFunc(j.m.Symptoms, func(s Reduplicate) bool { return message.PChannelOf(s.VChannel) == j.p })
	late := w.Confirmed - w.Observed
	if named || w.Flushed > 0 || w.Observed == 0 || !older(late, opensWithin) {
		return
	}
	j.add(FoundElse(channelReduplicates, Where{PChannel: j.p}, Evidence{"node " + w.Node, fmt.Sprintf("term %d, flusher in_recovery", w.Term)}, Evidence{"nothing observed for", seconds(late)}))
}

// scanners: a scanner that reads the log to its end and never gets over to the buffer.
func (j *momentJudge) scanners() {
	t, idle, catchUp, known := j.topic(), false, 0.0, false
	e := []Evidence{}
	var stood bool
	for _, w := range j.wals {
		known, catchUp = true, catchUp+w.CatchUp
		since := w.Confirmed - w.Persisted
		if w.Open && w.Persisted > 0 && older(since, idleAfter) {
			idle = true
			e = append(e, Evidence{"no TimeTick in the log for", seconds(since)})
			b := j.before(w)
			stood = stood || b != nil && b.CatchUp > 0 && b.CatchUpRead == w.CatchUpRead && b.Persisted == w.Persisted
		}
	}
	if known && (!idle || catchUp == 0) {
		return
	}
	stuck := 0
	for _, r := range t.Readers {
		if scannerName.MatchString(r.Consumer) && r.Permits > 0 && t.atEnd(r) {
			stuck++
			e = append(e, Evidence{"scanner", r.Consumer})
			if c := t.Cursors[r.Subscription]; c.Read != "" {
				e = append(e, Evidence{"waits at", strings.Replace(c.Read, ":", "/", 1)})
			}
		}
	}
	switch {
	case stuck > 0 && (known || t.Internal), !t.Stats && stood:
		j.add(Found(scannerStuck, Where{PChannel: j.p}, e...))
	case !t.Stats && known && older(j.idle(), opensWithin):
		j.add(FoundElse(scannerStuck, Where{PChannel: j.p}, append(e, Evidence{"scanners that catch up", count(catchUp)})...))
	}
}

// idle is for how long, in seconds, the log has had no TimeTick.
func (j *momentJudge) idle() float64 {
	out := 0.0
	for _, w := range j.wals {
		if w.Open && w.Persisted > 0 {
			out = max(out, w.Confirmed-w.Persisted)
		}
	}
	return out
}

// atEnd reports whether a reader has been given all there is.
func (t *TopicLook) atEnd(r TopicReader) bool {
	if c, ok := t.Cursors[r.Subscription]; ok {
		return c.Waiting
	}
	return r.Backlog == 0
}

// symptoms are the refusals that logs tell of, but those that are over.
func (j *momentJudge) symptoms() {
	for _, s := range j.m.Symptoms {
		p := message.PChannelOf(s.VChannel)
		wals := j.m.of(p)
		if len(wals) > 0 && wals[0].Flusher == "working" && wals[0].Flushed > 0 {
			continue
		}
		e := []Evidence{{"log", s.Where}}
		if s.Last != "" {
			e = append(e, Evidence{"last", s.Last})
		}
		for _, w := range wals {
			e = append(e, Evidence{"node " + w.Node, fmt.Sprintf("term %d %s", w.Term, w.state())})
		}
		f := Found(channelReduplicates, Where{PChannel: p, VChannel: s.VChannel}, e...)
		f.Count = s.Lines
		j.add(f)
	}
}

// growing: a node's growing segments against its own marks.
func (j *momentJudge) growing() {
	for _, n := range j.m.Nodes {
		var most *WALGauges
		sum, sealed := 0.0, 0.0
		for _, p := range j.m.PChannels() {
			w := n.WALs[p]
			if w == nil {
				continue
			}
			sum, sealed = sum+w.Growing, sealed+w.Sealed
			if most == nil || w.Growing > most.Growing {
				most = w
			}
		}
		if n.High == 0 || most == nil {
			continue
		}
		before := 0.0
		for _, w := range j.m.Before[n.Node].WALs {
			before += w.Sealed
		}
		_, twice := j.m.Before[n.Node]
		if sum < 0.8*n.High && (sealed == 0 || sum < n.Low) && (!twice || sealed <= before) {
			continue
		}
		e := []Evidence{{"node " + n.Node, fmt.Sprintf("%s of %s bytes (%.0f %%)", count(sum), count(n.High), 100*sum/n.High)}, {"most of it", fmt.Sprintf("%s bytes here", count(most.Growing))}}
		if sealed > 0 {
			e = append(e, Evidence{"sealed for it", count(sealed) + " segments"})
		}
		if sum >= n.High {
			j.add(FoundElse(growingNearWatermark, Where{PChannel: most.PChannel}, e...))
		} else {
			j.add(Found(growingNearWatermark, Where{PChannel: most.PChannel}, e...))
		}
	}
}

// next is the command that goes on from a finding.
func (m *Moment) next(f *Finding) string {
	p := PChannelOf(f.Where)
	wal := m.WAL
	if wal == "" {
		wal = p
	} else if m.Several {
		wal += " --log " + source.ShellWord(p)
	}
	switch f.Code {
	case walOwnedTwice.Code:
		return "walctl verify " + wal
	case walInRecovery.Code, channelReduplicates.Code:
		return "walctl recover " + wal
	case growingNearWatermark.Code:
		return "walctl recover " + wal + " --forecast"
	case flusherBlocked.Code:
		return "walctl channels " + wal
	case scannerStuck.Code:
		if m.WAL != "" {
			return "walctl scanners " + wal
		}
	}
	return "walctl timetick " + wal
}

// notChecked names the checks that evidence was missing for, and what gives it.
func (m *Moment) notChecked() []string {
	out := []string{}
	add := func(flag string, checks ...*Check) {
		codes := make([]string, len(checks))
		for i, c := range checks {
			codes[i] = c.Code
		}
		out = append(out, strings.Join(codes, ", ")+" ("+flag+")")
	}
	if len(m.Nodes) == 0 {
		add("--metrics", appendNotAcknowledged, flusherBlocked, walInRecovery, growingNearWatermark)
	}
	for _, n := range m.Nodes {
		if n.High == 0 {
			out = append(out, growingNearWatermark.Code+" of node "+n.Node+" (it has not set its marks yet: --metrics once more in a minute)")
		}
	}
	stats, internal := 0, 0
	for _, t := range m.Topics {
		if t.Stats {
			stats++
		}
		if t.Internal {
			internal++
		}
	}
	if stats == 0 {
		add("--topic-stats", scannerStuck)
	} else if internal == 0 {
		out = append(out, "where scanners read (--internal-stats)")
	}
	if len(m.Nodes) == 0 && stats == 0 {
		add("--metrics, --topic-stats", walOwnedTwice)
	}
	if !m.LogsKnown {
		add("--logs", channelReduplicates)
	}
	if m.Assigned == nil {
		out = append(out, "terms and assignments (--catalog)")
	}
	return out
}

func older(s float64, d time.Duration) bool { return s >= d.Seconds() }

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) + "s" }

func count(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

var scannerStuck = &Check{
	Code: "scanner-stuck", Severity: SeverityError, Needs: check.NeedMetrics | check.NeedAdmin,
	Else:    check.Else{Severity: SeverityWarning, Where: "the metrics of one look alone tell of it"},
	Title:   "a scanner has read the log to its end and waits for a TimeTick that does not come",
	Says:    "a scanner waits at the end of an idle log: what it feeds (a load, a query) hangs until something is written to the pchannel",
	Meaning: "A scanner that catches up gets over to the write-ahead buffer at a TimeTick it reads from the log. An idle log writes none, so the scanner's reader waits for good: loads and queries on it hang. No data is lost.",
	Cause:   "A scanner that started at the end of the log after the TimeTick forced for it was written; or a slow one whose buffer was evicted, on a log that was trimmed (in 2.6 and 3.0 still; before 2.6.0 more often).",
	Do:      "Write one row to any collection on the pchannel: its TimeTick frees every scanner. walctl never writes itself.",
	Threads: []string{"milvus#41062", "milvus#43340", "milvus#41345"},
}

var appendNotAcknowledged = &Check{
	Code: "append-not-acknowledged", Severity: SeverityError, Needs: check.NeedMetrics,
	Title:   "an append to the log is not acknowledged",
	Says:    "an append is not acknowledged: no TimeTick can be written after it, so writes and strong reads on the pchannel hang",
	Meaning: "TimeTicks cover what was acknowledged without a gap. One append that is not holds all of them back: writes, flushes and strongly consistent reads of the pchannel hang.",
	Cause:   "The broker refuses the producer (backlog quota, a fenced topic) or does not answer (a ledger rollover, no bookie).",
	Do:      "Look at the broker's log and at the topic's quota and bookies. Milvus retries for ever and goes on by itself once the broker accepts.",
	Threads: []string{"milvus#42649", "milvus#48998", "milvus#53492"},
}

var flusherBlocked = &Check{
	Code: "flusher-blocked", Severity: SeverityError, Needs: check.NeedMetrics,
	Else:    check.Else{Severity: SeverityWarning, Where: "it has stood for less than half a minute"},
	Title:   "the flusher of a pchannel stands still while its log goes on",
	Says:    "nothing of the pchannel reaches object storage and its checkpoint stands: a restart replays ever more, and memory grows",
	Meaning: "The flusher hands messages out one after another: one pipeline that cannot write, or one broadcast that is not acknowledged, holds the whole pchannel and its checkpoint. Retention may take what was not flushed.",
	Cause:   "Object storage that hangs (writes wait), or a coordinator that does not acknowledge a broadcast.",
	Do:      "Where writes wait: look at object storage. Else: look at MixCoord and its pending broadcast tasks. Do not restart before it is known how much a restart replays.",
	Threads: []string{"milvus#45285", "birdwatcher#524"},
}

var walInRecovery = &Check{
	Code: "wal-in-recovery", Severity: SeverityError, Needs: check.NeedMetrics,
	Else:    check.Else{Severity: SeverityInfo, Where: "nothing shows that it does not go on"},
	Title:   "the opening of a WAL does not end",
	Says:    "the WAL is still recovering: nothing can be read from or written to the pchannel, and its pod does not end",
	Meaning: "Until recovery ends the pchannel takes no writes, a newer term waits behind it, and the node does not exit.",
	Cause:   "Recovery reads a broadcast that the coordinator does not acknowledge, or a message it cannot get past; or the log to be replayed is long.",
	Do:      "See what recovery makes of the log. Look at MixCoord: once it acknowledges, recovery goes on by itself.",
	Threads: []string{"milvus#41307", "milvus#51765", "milvus#53237"},
}

var growingNearWatermark = &Check{
	Code: "growing-near-watermark", Severity: SeverityWarning, Needs: check.NeedMetrics,
	Else:    check.Else{Severity: SeverityError, Where: "the mark is reached"},
	Title:   "a node's growing segments are near the mark where they are sealed",
	Says:    "the growing segments of the node fill its memory: they are sealed small to make room, and the node may run out of memory",
	Meaning: "At its high mark a node seals the largest growing segments to get down to the low one. The memory returns only after they were written out: until then the node may be killed for it.",
	Cause:   "More shards and partitions than the node has memory for, or writes that come faster than they are flushed.",
	Do:      "Look whether flushes go on; give the node memory or spread the pchannels. Ask recover --forecast what a restart would hold in memory.",
	Threads: []string{"milvus#40592", "milvus#39275"},
}
