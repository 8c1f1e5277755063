package diagnose

import (
	"slices"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// What verify asks about a type, as bits.
const (
	bitKnown uint16 = 1 << iota
	bitHot
	bitSelf
	bitExclusive
	bitExclusive30
	bitV1       // version 1; every other known type is version 2
	bitData     // lives on a vchannel
	bitTxn      // needs a transaction context, and may follow a DropCollection
	bitPChannel // of the message: pchannel-level
	bit30       // only 3.0 writes it
	bitRows     // only on a vchannel of a collection
	bitDDL      // broadcast by writers since 2.6.5
	bitPlain    // of the message: deliverPlain may take it
)

func bitsOf(t message.Type) uint16 {
	b := bitKnown
	if t.Hot() || t == message.TypeCreateSegment {
		b |= bitHot // its columns tell all of it
	}
	for _, f := range [...]struct {
		flag message.TypeFlags
		bit  uint16
	}{
		{message.SelfControlled, bitSelf}, {message.Exclusive, bitExclusive}, {message.Exclusive30, bitExclusive30},
		{message.TxnBound, bitTxn}, {message.OfRows, bitRows}, {message.Broadcast, bitDDL},
	} {
		if t.Is(f.flag) {
			b |= f.bit
		}
	}
	if t.Version() == 1 {
		b |= bitV1
	}
	if t.Scope() == message.ScopeVChannel {
		b |= bitData
	}
	if t.Since() == message.Since30 {
		b |= bit30
	}
	return b
}

const (
	lcFlags       = message.HasLastConfirmed | message.LastConfirmedSelf
	envelopeFlags = message.HasTimeTick | message.HasHeader
	fullFlags     = message.HasBroadcast | message.HasReplicate | message.HasCipher | message.HasOtherProps
	mark30        = message.UnsafeReplicate | message.PartialUpdate
)

// batch judges a run of rows, in log order.
func (v *verifier) batch(c *message.Columns) {
	if c.N == 0 {
		return
	}
	if v.records == 0 {
		v.backend = c.Backend
		v.start(c)
	}
	v.names = c.VChannels
	for len(v.vchannels) < len(c.VChannels) {
		v.vchannels = append(v.vchannels, v.newVChannel(c.VChannels[len(v.vchannels)]))
	}
	v.rows = c
	v.sight.Columns(c)
	v.physical(c)
	v.defects(c)
	for i := 0; i < c.N; i++ {
		if c.Flags[i]&^message.HasTxn != plainFlags || !v.plain(c, i) {
			v.row(c, i)
		}
	}
	v.hold()
	v.rows = nil
	v.records += int64(c.N)
}

// start judges how the log begins: a first opening without a checkpoint before
// it tells that nothing was written before.
func (v *verifier) start(c *message.Columns) {
	complete := c.Type[0] == message.TypeTimeTick && c.Version[0] > 0 &&
		c.Flags[0]&(message.HasTerm|message.LastConfirmedSelf) == message.LastConfirmedSelf
	if !complete {
		v.partial = true
	}
	if !v.partial && v.replicate.role == roleUnknown {
		v.replicate.role, v.replicate.told = rolePrimary, true
	}
}

func (v *verifier) row(c *message.Columns, i int) {
	typ, flags := c.Type[i], c.Flags[i]
	if c.Version[i] == 0 {
		v.beforeStreaming(c, i)
		return
	}
	bits := v.typeBits[min(int(typ), len(v.typeBits)-1)]
	has := flags & lcFlags
	if flags&(envelopeFlags|message.NotPersisted) != envelopeFlags || has == 0 || has == lcFlags ||
		bits&bitKnown == 0 || (bits&bitV1 != 0) != (c.Version[i] == 1) || (bits&bitTxn != 0 && flags&message.HasTxn == 0) ||
		(bits&bitData != 0 && c.VChannel[i] == 0) || (flags&message.PChannelLevel != 0 && flags&message.HasBroadcast == 0) || typ == message.TypeTxn {
		v.envelope(c, i, bits)
		if flags&message.HasTimeTick == 0 {
			return
		}
	}
	if flags&message.Chunked != 0 {
		v.splits.take(c, i)
	}
	if bits&bit30 != 0 || flags&mark30 != 0 {
		v.is30 = true
	}
	if flags&message.HasBroadcast != 0 {
		v.copy(c, i)
	}
	tt := c.TimeTick[i]
	if flags&message.HasBarrier != 0 && c.Barrier[i] >= tt {
		v.tell(barrierAhead, v.place(c, i, "the barrier TimeTick is not below the message's own"))
	}
	if vs := &v.vchannels[c.VChannel[i]]; vs.foreign || (bits&bitRows != 0 && vs.kind != kindData && c.VChannel[i] != 0) {
		v.tell(badEnvelope, v.place(c, i, "a vchannel of another log, or one that holds no rows"))
	}
	pos := makePosition(c.A[i], c.B[i], c.Batch[i])
	lc := makePosition(c.LCA[i], c.LCB[i], c.LCBatch[i])
	if lc != v.terms.lastLC || !lc.less(pos) || flags&message.LastConfirmedSelf != 0 {
		v.lastConfirmed(c, i, pos, lc)
	}
	if cp := v.opts.Checkpoint; cp != nil && !v.check15 && tt > cp.TimeTick {
		v.checkpoint(c, i, cp)
	}
	if typ == message.TypeTimeTick {
		v.timeTick(c, i)
		return
	}
	stale := v.term(c, i)
	if tt <= v.terms.tick {
		v.behind(c, i, stale)
		return
	}
	if stale {
		v.tell(staleWriter, v.place(c, i, "a message of an older term stands after a newer opening"))
	}
	if tt <= v.window.cut {
		v.window.unjudged++
		return
	}
	v.enter(c, i, bits, pos, lc)
}

// enter takes a row into the window.
func (v *verifier) enter(c *message.Columns, i int, bits uint16, pos, lc position) {
	vc, flags := c.VChannel[i], c.Flags[i]
	if bits&bitExclusive30 != 0 && (v.is30 || bits&bit30 != 0) {
		bits |= bitExclusive
	}
	if flags&message.PChannelLevel != 0 || vc == 0 || v.vchannels[vc].kind == kindPChannel {
		bits |= bitPChannel
	}
	v.push(c, i, bits, pos, lc)
}

func (v *verifier) place(c *message.Columns, i int, note string) occurrence {
	return occurrence{pos: makePosition(c.A[i], c.B[i], c.Batch[i]), tt: c.TimeTick[i], vchannel: c.VChannel[i],
		typ: c.Type[i], rows: c.Rows[i], term: c.Term[i], note: note}
}

// envelope names what is wrong with a row's properties. docs/rules.md#invariants 1.
func (v *verifier) envelope(c *message.Columns, i int, bits uint16) {
	flags, typ := c.Flags[i], c.Type[i]
	lc := flags & lcFlags
	if typ == message.TypeTxn || flags&message.NotPersisted != 0 {
		v.tell(badEnvelope, v.place(c, i, "a message that only exists in memory stands in the log"))
		return
	}
	if bits&bitKnown == 0 {
		v.tell(unknownType, v.place(c, i, "a type neither 2.6 nor 3.0 writes"))
		return
	}
	if lc == lcFlags {
		v.tell(badEnvelope, v.place(c, i, "both _lc and _lcs"))
	}
	if (bits&bitV1 != 0) != (c.Version[i] == 1) {
		v.tell(badEnvelope, v.place(c, i, "the version is not the one its type is written with"))
	}
	if bits&bitTxn != 0 && flags&message.HasTxn == 0 {
		v.tell(badEnvelope, v.place(c, i, "a transaction's bound without a transaction"))
	}
	if bits&bitData != 0 && c.VChannel[i] == 0 {
		v.tell(badEnvelope, v.place(c, i, "no vchannel on a message of a vchannel"))
	}
	if flags&message.PChannelLevel != 0 && flags&message.HasBroadcast == 0 {
		v.tell(badEnvelope, v.place(c, i, "pchannel-level without a broadcast header"))
	}
}

// defects reports what the decoder found undecodable, in log order.
func (v *verifier) defects(c *message.Columns) {
	var rows []int
	for i, m := range c.Full {
		if len(m.Defects) > 0 && i < c.N {
			rows = append(rows, i)
		}
	}
	slices.Sort(rows)
	for _, i := range rows {
		for _, d := range c.Full[i].Defects {
			o := v.place(c, i, "property "+d.Property+" is missing or undecodable")
			o.detail = d.Cause
			v.tell(badEnvelope, o)
		}
	}
}

// beforeStreaming takes a V0 message: its ids are judged, and that Milvus can
// adapt it (its defects tell); it carries no envelope to hold to the rest.
func (v *verifier) beforeStreaming(c *message.Columns, i int) {
	if c.Flags[i]&(message.HasTerm|message.HasHeader|lcFlags) != 0 {
		v.tell(badEnvelope, v.place(c, i, "no version, though it carries a streaming envelope"))
		return
	}
	v.old++
	v.partial = true
	if v.replicate.role == rolePrimary {
		v.replicate = replication{}
	}
}

var badEnvelope = &Check{
	Code: "bad-envelope", Severity: SeverityError, Invariant: 1,
	Title:   "a message's properties are not whole",
	Meaning: "Milvus reads these properties without asking: a node that meets the message can panic, and what it carries is not replayed.",
	Cause:   "A writer of another version, a foreign producer on the topic, or damage on the way.",
	Do:      "Look at the message with inspect --id. Do not restart the node before the log is captured.",
	Threads: []string{"milvus#53558"},
}

var unknownType = &Check{
	Code: "unknown-type", Severity: SeverityError, Invariant: 1,
	Title:   "a message type neither 2.6 nor 3.0 knows",
	Meaning: "Recovery passes over it, but a flusher that meets a type it does not know panics.",
	Cause:   "Written by a newer Milvus, as after a downgrade, or a damaged type property.",
	Do:      "Start the version that wrote the log, or a newer one.",
	Threads: []string{"milvus#53558"},
}

var barrierAhead = &Check{
	Code: "barrier-ahead", Severity: SeverityError, Invariant: 13,
	Title:   "a barrier that is not before its message",
	Meaning: "The message claims to come after messages that are later than itself; its flush boundary is wrong.",
	Cause:   "Damage or two timestamp allocators.",
	Do:      "Look at the message with inspect --id.",
}
