package diagnose

import (
	"fmt"
	"time"

	"github.com/walctl/walctl/pkg/scanner"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

var catchUpHangs = &Check{
	Code: "catch-up-hangs", Severity: SeverityError,
	Title:   "in the simulation, a scanner's catch-up never ends",
	Says:    "a scanner that starts so waits for good: what it feeds (a load, a query) hangs until something is written to the pchannel",
	Meaning: "A scanner gets over from the log to the node's write-ahead buffer at a TimeTick it reads from the log. Where no such TimeTick is left for it, and an idle log writes none, its catch-up never ends: loads and queries on it hang until something is written. No data is lost. This is what a simulation of Milvus's own rules says of this log, not what a node was seen to do.",
	Cause:   "Before #41345: a start after the log's last TimeTick, or a log that retention trimmed behind it. In every release: a consumer so slow that the buffer had evicted what it reads next, on a log that was trimmed meanwhile.",
	Do:      "Write one row to any collection on the pchannel: its TimeTick frees every scanner. walctl never writes itself. From 2.6 on only the slow consumer is left: let retention keep more than such a consumer stands.",
	Threads: []string{"milvus#41062", "milvus#41109", "milvus#41345"},
}

// CatchUp is how a simulated scanner fares, in words.
type CatchUp struct {
	Verdict  string    `json:"verdict"`
	Why      string    `json:"why"`
	Notes    []string  `json:"notes"`   // what to know before one believes it
	Unblock  string    `json:"unblock"` // what would end a catch-up that hangs; "" = nothing has to
	Findings []Finding `json:"-"`
	Next     string    `json:"-"`
}

// JudgeCatchUp puts a simulation's result into words. wal is the log as it was named.
func JudgeCatchUp(r *scanner.Result, wal, pchannel string) *CatchUp {
	out := &CatchUp{Notes: catchUpNotes(r)}
	wal = source.ShellWord(wal)
	if r.Outcome == scanner.Meets {
		out.Verdict, out.Why = meetsWords(r)
		out.Next = "walctl doctor " + wal + "  # is a scanner stuck all the same? --metrics of its node tells"
		return out
	}
	out.Verdict = "the catch-up never ends: " + hangsWords(r)
	out.Why = fmt.Sprintf("it gets over to the buffer only at a TimeTick it reads from the log, of %s or later; an idle node makes them in memory alone", message.FormatTSO(r.Buffer.Oldest))
	out.Unblock = "one row written to any collection on the pchannel: its TimeTick frees the scanner; walctl never writes one"
	if r.Policy >= scanner.Policy41345 {
		out.Unblock += ". So does another scanner that opens on it, for which a TimeTick is written"
	}
	out.Next = "walctl explain " + catchUpHangs.Code
	if r.Policy < scanner.Policy41345 && r.Pause == "" {
		out.Next = simulateLine(r, wal) + "  # the same from 2.6 on"
	}
	f := Found(catchUpHangs, Where{PChannel: pchannel, ID: r.Last.IDs, TimeTick: r.Last.TimeTick},
		Evidence{"policy", r.Policy.String()}, Evidence{"start", r.Start.String()}, Evidence{"because", hangsWords(r)})
	f.Next = out.Next
	out.Findings = []Finding{f}
	return out
}

// simulateLine is the command that asks the same of the newest policy.
func simulateLine(r *scanner.Result, wal string) string {
	line := fmt.Sprintf("walctl scanners %s --simulate --policy %s --start %s", wal, scanner.Policy41470, r.Start)
	if r.Capacity != scanner.DefaultCapacity {
		line += fmt.Sprintf(" --capacity %d", r.Capacity)
	}
	if r.Keepalive != scanner.DefaultKeepalive.Seconds() {
		line += " --keepalive " + durationOf(r.Keepalive)
	}
	if r.Idle > 0 {
		line += " --idle " + durationOf(r.Idle)
	}
	if r.Trimmed {
		line += " --trimmed"
	}
	return line
}

func durationOf(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).String()
}

func hangsWords(r *scanner.Result) string {
	switch {
	case len(r.Switch) > 0:
		return fmt.Sprintf("while its consumer stood the buffer evicted what comes after %s, and the log was trimmed: no TimeTick is left to switch over at", r.Switch[len(r.Switch)-1].Place.IDs)
	case r.Pause != "":
		return fmt.Sprintf("its consumer stood after %s, and no TimeTick that the buffer still holds is left for it in the log", r.Pause)
	case r.Trimmed:
		return "retention has taken every TimeTick from the log, and an idle log writes no other"
	}
	return fmt.Sprintf("it starts after the log's last TimeTick, %s, and an idle log writes no other", r.Last.IDs)
}

func meetsWords(r *scanner.Result) (verdict, why string) {
	switch {
	case r.Pause != "" && len(r.Switch) > 1:
		verdict = fmt.Sprintf("meets at %s (record %d): the slow consumer's scanner is back in the buffer", r.AtIDs, r.AtI)
		why = "the buffer had evicted what the scanner reads next; it read the log again from its last confirmed id, and the log still had this TimeTick"
	case r.Pause != "":
		verdict = fmt.Sprintf("meets at %s (record %d), and stays: the buffer kept what the slow consumer reads next", r.AtIDs, r.AtI)
		why = "nothing the scanner had still to read was evicted while its consumer stood"
	case r.Forced:
		verdict = fmt.Sprintf("meets at the TimeTick that is written for the scanner (%s, after the log's end)", r.AtIDs)
		why = "the log has no TimeTick to offer; since #41345 each new scanner asks for one, which is written although the log is idle"
	case r.Answer == scanner.Snapshot:
		verdict = fmt.Sprintf("meets at %s (record %d)", r.AtIDs, r.AtI)
		why = "older TimeTicks are evicted; what comes after this one is still in the buffer"
	case r.Answer == scanner.AtEnd:
		verdict = fmt.Sprintf("meets at %s (record %d)", r.AtIDs, r.AtI)
		why = "the buffer holds nothing after it: the next TimeTick, in memory or written, reaches the scanner there"
	default:
		verdict = fmt.Sprintf("meets at %s (record %d), once the next TimeTick comes", r.AtIDs, r.AtI)
		why = "it is newer than anything in the buffer; the scanner waits for the TimeTick after it, which an idle node makes in memory within 0.2 s"
	}
	return verdict, why
}

func catchUpNotes(r *scanner.Result) []string {
	notes := []string{}
	if k := r.Start.Kind; r.Forced && r.Pause == "" && (k == scanner.StartLatest || k == scanner.StartAfterLast) {
		notes = append(notes, "2.6 and 3.0 write that TimeTick before the scanner's reader exists: a reader that starts at the end can miss it (1 of 5 did on a real broker), and hangs then until the next write")
	}
	if r.Waiting > 0 {
		notes = append(notes, fmt.Sprintf("%s no TimeTick confirms: a node that lives writes one within 0.2 s, and a scanner that waits is free then", waitingWords(r.Waiting)))
	}
	if !r.Opened {
		notes = append(notes, fmt.Sprintf("no opening was read: the buffer is taken to be born at the first TimeTick, %s", r.Born.IDs))
	}
	return notes
}

func waitingWords(n int) string {
	if n == 1 {
		return "the log ends with 1 message that"
	}
	return fmt.Sprintf("the log ends with %d messages that", n)
}
