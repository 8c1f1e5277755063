package pulsar

import (
	"math"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// span is a stretch of a log, both ends included.
type span struct {
	from message.ID // zero = the topic's first message
	to   message.ID // zero = no end
}

// entryOf is an id without its batch index.
func entryOf(id message.ID) message.ID {
	id.Batch = 0
	return id
}

// before reports whether id lies in an entry behind the span's last.
func (s span) past(id message.ID) bool {
	return !s.to.IsZero() && s.to.Less(id)
}

// missing counts the entries that must lie between two ids and were not
// delivered. prevOfBatch is how many messages prev's entry holds. −1 = some,
// but how many is not known; 0 = none. ledgers are those there at opening: an
// older one that is not among them is gone, a newer one is taken as whole.
func missing(prev message.ID, prevOfBatch int32, next message.ID, ledgers []ledger) int64 {
	if prev.A == next.A {
		switch {
		case next.B == prev.B:
			return 0
		case next.B > prev.B+1:
			return next.B - prev.B - 1
		case prev.Batch+1 < prevOfBatch:
			return 1
		}
		return 0
	}
	lost, known := next.B, false // entries before it in its ledger
	for _, l := range ledgers {
		known = known || l.ID == prev.A
		switch {
		case l.ID == prev.A && l.Entries > 0:
			lost += max(l.Entries-1-prev.B, 0)
		case l.ID > prev.A && l.ID < next.A:
			lost += l.Entries
		}
	}
	if n := len(ledgers); !known && n > 0 && prev.A < ledgers[n-1].ID {
		return -1
	}
	return lost
}

// firstEntry is the first entry of the log's ledgers after the one given (−1 = of the
// log), where the first one delivered is next. A broker deletes ledgers whole, so that
// what is left begins where a ledger does.
func firstEntry(after int64, next message.ID, ledgers []ledger) message.ID {
	for _, l := range ledgers {
		if l.Entries > 0 && l.ID > after && l.ID < next.A {
			return message.ID{Backend: message.BackendPulsar, A: l.ID}
		}
	}
	return message.ID{Backend: message.BackendPulsar, A: next.A}
}

// missingBefore counts the entries that lie between where reading was to begin and the
// first one delivered, as missing does. Of a ledger that the log no longer has (from is
// of a time before a trim) nothing is passed over: that the position is gone is told by
// who reads from it.
func missingBefore(from, next message.ID, ledgers []ledger) int64 {
	here := slices.ContainsFunc(ledgers, func(l ledger) bool { return l.ID == from.A })
	switch {
	case from.IsZero():
		from = firstEntry(-1, next, ledgers)
	case len(ledgers) == 0 && from.A != next.A: // whether its ledger ended there is not known
		return -1
	case len(ledgers) > 0 && !here && from.A < next.A:
		from = firstEntry(from.A, next, ledgers)
	}
	from.B--
	return missing(from, 0, next, ledgers)
}

// split cuts a span into pieces of about pieceBytes by the ledgers' sizes, so
// that several connections can read it at once. Without ledgers it stays whole.
func split(s span, ledgers []ledger, pieceBytes int64) []span {
	var out []span
	from := s.from
	for _, l := range ledgers {
		if l.Entries <= 0 || l.ID < s.from.A || (!s.to.IsZero() && l.ID > s.to.A) {
			continue
		}
		first, last := int64(0), l.Entries-1
		if l.ID == s.from.A {
			first = max(s.from.B, 0)
		}
		if l.ID == s.to.A {
			last = min(last, s.to.B)
		}
		step := max(pieceBytes/max(l.Size/l.Entries, 1), 1)
		for at := first; at <= last; at += step {
			end := message.ID{Backend: message.BackendPulsar, A: l.ID, B: min(at+step-1, last), Batch: math.MaxInt32}
			out = append(out, span{from: from, to: end})
			from = message.ID{Backend: message.BackendPulsar, A: l.ID, B: end.B + 1}
		}
	}
	if len(out) == 0 {
		return []span{s}
	}
	out[len(out)-1].to = s.to
	return out
}
