package walgen

import (
	"fmt"
	"math/rand/v2"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Fault names one way a clean log is broken. docs/faults.md describes each.
type Fault string

// The faults. Those that leave no trace in any rule are told by Traceless.
const (
	StaleWriter        Fault = "stale-writer"
	RetryDuplicate     Fault = "retry-duplicate"
	MissingTimeTick    Fault = "missing-timetick"
	EarlyTimeTick      Fault = "early-timetick"
	TimeTickRegression Fault = "timetick-regression"
	LostBegin          Fault = "lost-begin"
	LostBody           Fault = "lost-body"
	LostCommit         Fault = "lost-commit"
	ExpiredTxn         Fault = "expired-transaction"
	DroppedEntry       Fault = "dropped-entry"
	LostMessage        Fault = "lost-message"
	LostSegment        Fault = "lost-segment"
	EqualTimeTick      Fault = "equal-timetick"
	LastConfirmedBack  Fault = "last-confirmed-back"
	LastConfirmedAhead Fault = "last-confirmed-ahead"
	UnknownType        Fault = "unknown-type"
	BadHeader          Fault = "bad-header"
	NoTimeTick         Fault = "no-timetick-property"
	NotPersisted       Fault = "not-persisted"
	InsertAfterFlush   Fault = "insert-after-flush"
	InsertAfterSeal    Fault = "insert-after-seal"
	InsertAfterDrop    Fault = "insert-after-drop"
	DroppedPartition   Fault = "insert-into-dropped-partition"
	BarrierAhead       Fault = "barrier-ahead"
	ForeignBroadcast   Fault = "foreign-broadcast"
	TermBack           Fault = "term-back"
	PayloadFlipped     Fault = "payload-flipped"
)

// Faults lists every fault.
func Faults() []Fault {
	return []Fault{StaleWriter, RetryDuplicate, MissingTimeTick, EarlyTimeTick, TimeTickRegression,
		LostBegin, LostBody, LostCommit, ExpiredTxn, DroppedEntry, LostMessage, LostSegment, EqualTimeTick,
		LastConfirmedBack, LastConfirmedAhead, UnknownType, BadHeader, NoTimeTick, NotPersisted,
		InsertAfterFlush, InsertAfterSeal, InsertAfterDrop, DroppedPartition, BarrierAhead, ForeignBroadcast, TermBack, PayloadFlipped}
}

// Traceless reports whether no rule over the log alone can see the fault.
func (f Fault) Traceless() bool {
	switch f {
	case LostBody, LostCommit, LostMessage, PayloadFlipped:
		return true
	}
	return false
}

// Injected is the ground truth of one fault: what it touched, as ids of the
// broken log. Of what was taken away, TimeTicks tells where it stood.
type Injected struct {
	Fault     Fault
	IDs       []message.ID // messages that are wrong, or that a reader would drop
	TimeTicks []uint64     // of messages taken away
	Rows      uint64       // inserted rows a reader loses by it
}

// Inject breaks a clean log in one place and returns the broken copy; ms is not
// changed. The same seed breaks the same place. It fails where the log holds
// nothing the fault could be done to.
func Inject(ms []*message.Message, f Fault, seed uint64) ([]*message.Message, Injected, error) {
	e := &edit{ms: append([]*message.Message(nil), ms...), rng: rand.New(rand.NewPCG(seed, 0xfa017)), truth: Injected{Fault: f}}
	do := e.faults()[f]
	if do == nil {
		return nil, Injected{}, fmt.Errorf("inject %s: no such fault", f)
	}
	if !do() {
		return nil, Injected{}, fmt.Errorf("inject %s: the log of %d messages has no place for it", f, len(ms))
	}
	e.renumber()
	for _, m := range e.touched {
		e.truth.IDs = append(e.truth.IDs, m.ID)
	}
	return e.ms, e.truth, nil
}

// edit is a log being broken. touched are messages of ms at the end.
type edit struct {
	ms      []*message.Message
	rng     *rand.Rand
	truth   Injected
	touched []*message.Message
	holes   bool // ids stay as they were: what is taken away leaves a hole
}

func (e *edit) faults() map[Fault]func() bool {
	return map[Fault]func() bool{
		StaleWriter: e.staleWriter, RetryDuplicate: e.retryDuplicate,
		MissingTimeTick: e.missingTimeTick, EarlyTimeTick: e.earlyTimeTick, TimeTickRegression: e.timeTickRegression,
		LostBegin:  func() bool { return e.loseTxn(message.TypeBeginTxn) },
		LostBody:   func() bool { return e.loseTxn(message.TypeInsert) },
		LostCommit: func() bool { return e.loseTxn(message.TypeCommitTxn) },
		ExpiredTxn: e.expiredTxn,
		DroppedEntry: func() bool {
			e.holes = true
			return e.loseData()
		},
		LostMessage: e.loseData, LostSegment: e.lostSegment, EqualTimeTick: e.equalTimeTick,
		LastConfirmedBack: e.lastConfirmedBack, LastConfirmedAhead: e.lastConfirmedAhead,
		UnknownType:  func() bool { return e.setProp(isPlainData, message.KeyType, "77") },
		BadHeader:    func() bool { return e.setProp(isPlainData, message.KeyHeader, "CP///w==") },
		NoTimeTick:   func() bool { return e.dropProp(isPlainData, message.KeyTimeTick) },
		NotPersisted: func() bool { return e.setProp(isPlainData, message.KeyNotPersisted, "") },
		InsertAfterFlush: func() bool {
			return e.insertSealed(func(m *message.Message) bool { return m.Type == message.TypeFlush })
		},
		InsertAfterSeal: func() bool {
			return e.insertSealed(func(m *message.Message) bool { return m.Type == message.TypeManualFlush })
		},
		InsertAfterDrop: e.insertAfterDrop, DroppedPartition: e.droppedPartition, BarrierAhead: e.barrierAhead, ForeignBroadcast: e.foreignBroadcast,
		TermBack: e.termBack, PayloadFlipped: e.payloadFlipped,
	}
}

func isPlainData(m *message.Message) bool {
	return (m.Type == message.TypeInsert || m.Type == message.TypeDelete) && !m.Has(message.HasTxn) && !m.Has(message.HasReplicate)
}

// pick returns the index of a random message that match accepts, or −1.
func (e *edit) pick(match func(int, *message.Message) bool) int {
	var at []int
	for i, m := range e.ms {
		if match(i, m) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return -1
	}
	return at[e.rng.IntN(len(at))]
}

// change returns a copy of m with properties set (or, with a nil value, taken
// away) and decoded anew.
func change(m *message.Message, set map[string]*string) *message.Message {
	out := &message.Message{Ordinal: m.Ordinal, PublishTime: m.PublishTime, Payload: m.Payload}
	out.SetID(m.ID, m.Form())
	for _, p := range m.Props {
		if _, ok := set[p.Key]; !ok {
			out.Props = append(out.Props, p)
		}
	}
	for k, v := range set {
		if v != nil {
			out.Props = append(out.Props, message.Property{Key: k, Value: *v})
		}
	}
	out.Props.Sort()
	new(message.Decoder).Decode(out)
	return out
}

// replace puts a changed copy in the place of the i-th message.
func (e *edit) replace(i int, set map[string]*string) {
	e.ms[i] = change(e.ms[i], set)
	e.touched = append(e.touched, e.ms[i])
}

func (e *edit) setProp(match func(*message.Message) bool, key, value string) bool {
	i := e.pick(func(_ int, m *message.Message) bool { return match(m) })
	if i >= 0 {
		e.replace(i, map[string]*string{key: &value})
	}
	return i >= 0
}

func (e *edit) dropProp(match func(*message.Message) bool, key string) bool {
	i := e.pick(func(_ int, m *message.Message) bool { return match(m) })
	if i >= 0 {
		e.replace(i, map[string]*string{key: nil})
	}
	return i >= 0
}

// take removes the i-th message.
func (e *edit) take(i int) {
	e.truth.TimeTicks = append(e.truth.TimeTicks, e.ms[i].TimeTick)
	e.ms = append(e.ms[:i], e.ms[i+1:]...)
}

// put inserts a message before the i-th, but never inside an entry's batch.
func (e *edit) put(i int, m *message.Message) {
	for i < len(e.ms) && i > 0 && sameEntry(e.ms[i].ID, e.ms[i-1].ID) {
		i++
	}
	m.SetID(e.ms[i-1].ID, m.Form()) // a place in the log's order; renumber gives it its own
	e.ms = append(e.ms, nil)
	copy(e.ms[i+1:], e.ms[i:])
	e.ms[i] = m
	e.touched = append(e.touched, m)
}

func sameEntry(a, b message.ID) bool {
	return a.Backend == message.BackendPulsar && a.A == b.A && a.B == b.B
}

// renumber gives the messages ids without a hole, as the log would have been
// written, and moves every last confirmed id along.
func (e *edit) renumber() {
	if e.holes {
		for i, m := range e.ms {
			n := *m
			n.Ordinal = int64(i)
			e.ms[i] = &n
		}
		return
	}
	ids := make([]message.ID, len(e.ms))
	moved := map[message.ID]message.ID{}
	var old message.ID
	for i, m := range e.ms {
		ids[i] = m.ID
		if i > 0 {
			ids[i] = following(ids[i-1], old, m.ID)
		}
		if _, dup := moved[m.ID]; !dup {
			moved[m.ID] = ids[i]
		}
		old = m.ID
	}
	touched := map[*message.Message]int{}
	for i, m := range e.touched {
		touched[m] = i
	}
	for i, m := range e.ms {
		lc, known := moved[m.LastConfirmed]
		if m.ID == ids[i] && m.Ordinal == int64(i) && (!known || lc == m.LastConfirmed) {
			continue
		}
		n := change(m, nil)
		if known && m.Has(message.HasLastConfirmed) && lc != m.LastConfirmed {
			raw := lc.Raw(m.LastConfirmedForm())
			n = change(m, map[string]*string{message.KeyLastConfirmed: &raw})
		}
		if n.SetID(ids[i], m.Form()); n.Has(message.LastConfirmedSelf) {
			n.LastConfirmed = ids[i]
		}
		n.Ordinal = int64(i)
		if t, ok := touched[m]; ok {
			e.touched[t] = n
		}
		e.ms[i] = n
	}
}

// following returns the id after prev for a message that stood at id after old.
func following(prev, old, id message.ID) message.ID {
	next := prev
	switch id.Backend {
	case message.BackendPulsar, message.BackendWoodpecker:
		switch {
		case id.A != old.A && old.Less(id):
			return message.ID{Backend: id.Backend, A: id.A}
		case sameEntry(id, old) && id.Batch > old.Batch:
			next.Batch++
			return next
		}
		next.B, next.Batch = next.B+1, 0
	default:
		next.A++
	}
	return next
}
