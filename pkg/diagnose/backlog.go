package diagnose

// Backlog is the appends that wait for a TimeTick, in log order. A TimeTick
// costs what it confirms, however many wait behind it.
type Backlog struct {
	list    []pendingAppend // from next on; confirmed ones among them
	next    int
	base    int64 // how many lay before the list
	byTick  pile[backlogTick]
	sorted  int    // of list, those in byTick or confirmed
	highest uint64 // of list
	waiting int
}

type backlogTick struct {
	tt uint64
	at int64 // place in the log's order
}

// Before orders by TimeTick, then by place.
func (b backlogTick) Before(o backlogTick) bool {
	return b.tt < o.tt || b.tt == o.tt && b.at < o.at
}

// Len is how many wait.
func (b *Backlog) Len() int { return b.waiting }

// Add takes an append in log order.
func (b *Backlog) Add(tt uint64) { b.add(pendingAppend{tt: tt}) }

func (b *Backlog) add(p pendingAppend) {
	b.list = append(b.list, p)
	b.highest = max(b.highest, p.tt)
	b.waiting++
}

// first is the one that stands first in the log; there must be one.
func (b *Backlog) first() *pendingAppend { return &b.list[b.next] }

// Confirm takes out what a TimeTick confirms and returns how many that was.
func (b *Backlog) Confirm(tick uint64) int64 {
	if tick >= b.highest {
		n := int64(b.waiting)
		b.Clear()
		return n
	}
	for ; b.sorted < len(b.list); b.sorted++ {
		b.byTick.push(backlogTick{b.list[b.sorted].tt, b.base + int64(b.sorted)})
	}
	n := int64(0)
	for len(b.byTick) > 0 && b.byTick[0].tt <= tick {
		b.list[b.byTick.pop().at-b.base].confirmed = true
		n++
	}
	b.waiting -= int(n)
	for b.next < len(b.list) && b.list[b.next].confirmed {
		b.next++
	}
	if 2*b.next > len(b.list) {
		b.list = b.list[:copy(b.list, b.list[b.next:])]
		b.base, b.sorted, b.next = b.base+int64(b.next), b.sorted-b.next, 0
	}
	return n
}

// Clear forgets everything.
func (b *Backlog) Clear() {
	b.list, b.byTick = b.list[:0], b.byTick[:0]
	b.base, b.sorted, b.next, b.highest, b.waiting = 0, 0, 0, 0, 0
}
