package diagnose

import "github.com/walctl/walctl/pkg/walreader/message"

// deliver judges a message in TimeTick order, as a reader would get it.
func (v *verifier) deliver(e *entry) {
	if e.flags&message.Chunked != 0 && !v.chunked(e) {
		return
	}
	r := &v.terms.recent
	if tt, p := r.newest(); tt == e.tt && v.same(e, p) {
		return
	}
	r.add(e.tt, e.sum, e.pos)
	if e.flags&message.HasTerm != 0 {
		v.confirmLC(e)
	}
	if v.txns.open > 0 && v.txns.minBegin.less(e.lc) && !v.waiveLC {
		v.promise(e)
	}
	if e.vchannel != 0 {
		v.lifecycle(e)
	}
	if e.flags&(message.HasBroadcast|message.HasReplicate) != 0 || e.bits&bitHot == 0 || v.replicate.role == roleSecondary {
		v.headers(e)
	}
	if e.bits&bitExclusive != 0 {
		v.exclusive(e)
	}
	if e.flags&message.HasTxn != 0 {
		v.transaction(e)
	}
	v.segment(e)
}

// same judges two messages with one TimeTick: a retry that landed twice, or two
// messages that must not share it. It reports whether e is to be skipped.
// docs/rules.md#invariants 4.
func (v *verifier) same(e *entry, first position) bool {
	r := &v.terms.recent
	o := occurrence{pos: e.pos, tt: e.tt, vchannel: e.vchannel, typ: e.typ, term: e.term, other: first, hasOther: true}
	if first, ok := r.find(e.tt, e.sum); ok {
		o.other, o.note = first, "an append that was retried and had landed"
		v.txns.copied(e.typ, e.txn, e.flags, e.pos)
		v.tell(retryDuplicate, o)
		return true
	}
	o.note, o.rows = "two different messages carry one TimeTick", e.rows
	v.tell(duplicateTimeTick, o)
	return false
}

func (v *verifier) at(e *entry, note string) occurrence {
	return occurrence{pos: e.pos, tt: e.tt, vchannel: e.vchannel, typ: e.typ, rows: e.rows, term: e.term, note: note}
}

var duplicateTimeTick = &Check{
	Code: "duplicate-timetick", Severity: SeverityError, Invariant: 4,
	Title:   "two different messages carry one TimeTick",
	Meaning: "A TimeTick belongs to one message. Recovery counts only one of two that share it, and their order is undefined.",
	Cause:   "Two timestamp allocators, or damage on the way.",
	Do:      "Look at both with inspect --id.",
}

var retryDuplicate = &Check{
	Code: "retry-duplicate", Severity: SeverityWarning, Invariant: 4,
	Title:   "an append was retried though it had landed",
	Meaning: "The message stands twice under two ids. Readers get one of them; a part of a transaction is counted twice in its segment's statistics.",
	Cause:   "The broker's answer was lost or late, and the node appended the same message again. Normal under broker trouble.",
	Do:      "Nothing for the data. Many of them point to a slow or restarting broker.",
	Threads: []string{"milvus#53388"},
}
