package walgen

import (
	"math/rand/v2"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// position hands out ids as a backend does: ledgers of entries (of batches),
// segments of entries, or a running offset.
type position struct {
	backend message.Backend
	form    message.Form
	next    message.ID
	per     int64 // entries in a ledger or segment
	batches bool
	left    int // messages still to come in the open batch
}

func newPosition(cfg *Config) position {
	p := position{backend: cfg.Backend, per: int64(cfg.LedgerEntries), batches: cfg.Batches}
	p.next = message.ID{Backend: cfg.Backend}
	if p.backend == message.BackendPulsar {
		p.next.A = 1001
		p.form = message.Form{BatchSize: 1}
		if cfg.Batches { // the in-memory WAL's spelling: it knows no partition
			p.form = message.Form{Partition: -1}
		}
	}
	return p
}

// take returns the next id. lone: the message has an entry of its own.
func (p *position) take(r *rand.Rand, lone bool) message.ID {
	id := p.next
	switch p.backend {
	case message.BackendPulsar:
		if p.batches && !lone && p.left == 0 {
			p.left = 1 + r.IntN(4)
		}
		if p.left > 1 && !lone {
			p.left--
			p.next.Batch++
			return id
		}
		p.left, p.next.Batch = 0, 0
		p.advance(r)
	case message.BackendWoodpecker:
		p.advance(r)
	default:
		p.next.A++
	}
	return id
}

func (p *position) advance(r *rand.Rand) {
	if p.next.B++; p.next.B >= p.per {
		p.roll(r)
	}
}

// roll begins a new ledger or segment, as a new owner of the log does.
func (p *position) roll(r *rand.Rand) {
	p.left, p.next.Batch = 0, 0
	switch p.backend {
	case message.BackendPulsar:
		if p.next.B > 0 {
			p.next.A, p.next.B = p.next.A+1+int64(r.IntN(7)), 0
		}
	case message.BackendWoodpecker:
		if p.next.B > 0 {
			p.next.A, p.next.B = p.next.A+1, 0
		}
	}
}

// tso allocates timestamps as a streaming node does: batches of a thousand from
// the coordinator, thrown away once older than 50 ms.
type tso struct {
	batchMS int64
	next    uint64
	left    int
}

func (t *tso) allocate(nowMS int64) uint64 {
	if t.left == 0 || nowMS-t.batchMS > 50 {
		fresh := uint64(nowMS) << 18
		t.next = max(fresh, t.next)
		t.batchMS, t.left = nowMS, 1000
	}
	v := t.next
	t.next++
	t.left--
	return v
}
