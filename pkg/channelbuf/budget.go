package channelbuf

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrBudget means that what must be held does not fit the budget, even with
// everything else spilled. The caller can raise the budget or replay less at once.
var ErrBudget = errors.New("memory budget exceeded")

// Spiller is a holder of memory that can move it to disk.
type Spiller interface {
	// Spillable returns the bytes a Spill would free now, without locking.
	Spillable() int64
	// Spill moves them to disk and returns the bytes freed. The budget gives
	// them back; the spiller does not release them itself.
	Spill() (int64, error)
}

// Budget is one bound in bytes over everything a replay holds: buffers, the
// reorder heap, open transactions, pending output. Whoever holds memory
// reserves it first. It is safe for concurrent use.
//
// A reservation that does not fit waits while another worker still runs and
// holds passing memory (Lease.ReservePassing); else the largest Spiller is
// spilled by the caller; else it fails with ErrBudget. A worker never waits for
// itself, and never when all others wait, so there is no deadlock.
type Budget struct {
	limit int64

	mu       sync.Mutex
	wake     *sync.Cond
	used     int64
	peak     int64
	passing  int64
	leases   int
	waiting  int
	spilling bool
	spilled  int64
	spillers map[Spiller]struct{}
}

// NewBudget returns a budget of limit bytes; limit <= 0 only counts.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit, spillers: make(map[Spiller]struct{})}
	b.wake = sync.NewCond(&b.mu)
	return b
}

// Usage is what a budget has seen, in bytes.
type Usage struct {
	Limit   int64 `json:"limit"` // 0 = unbounded
	Used    int64 `json:"used"`
	Peak    int64 `json:"peak"`
	Spilled int64 `json:"spilled"` // moved to disk over the budget's life
}

// Usage returns the present figures.
func (b *Budget) Usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Usage{Limit: max(b.limit, 0), Used: b.used, Peak: b.peak, Spilled: b.spilled}
}

func (b *Budget) addSpiller(s Spiller) {
	b.mu.Lock()
	b.spillers[s] = struct{}{}
	b.mu.Unlock()
}

func (b *Budget) removeSpiller(s Spiller) {
	b.mu.Lock()
	delete(b.spillers, s)
	b.mu.Unlock()
}

// release gives bytes back and wakes who waits.
func (b *Budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used -= n
	b.wake.Broadcast()
	b.mu.Unlock()
}

// Lease is one worker's access to a budget. A worker is one goroutine; a lease
// is not safe for concurrent use.
type Lease struct {
	b       *Budget
	passing int64
	done    bool
}

// Join registers a worker. It must Leave.
func (b *Budget) Join() *Lease {
	b.mu.Lock()
	b.leases++
	b.mu.Unlock()
	return &Lease{b: b}
}

// Leave gives back the lease's passing memory and ends it. It may be called twice.
func (l *Lease) Leave() {
	if l.done {
		return
	}
	l.done = true
	l.b.mu.Lock()
	l.b.leases--
	l.b.used -= l.passing
	l.b.passing -= l.passing
	l.passing = 0
	l.b.wake.Broadcast()
	l.b.mu.Unlock()
}

// ReservePassing takes n bytes that will soon be given back by ReleasePassing:
// a reorder heap, an open transaction, pending output.
func (l *Lease) ReservePassing(ctx context.Context, n int64) error {
	return l.b.reserve(ctx, l, n, true)
}

// ReleasePassing gives back bytes taken by ReservePassing.
func (l *Lease) ReleasePassing(n int64) {
	l.b.mu.Lock()
	n = min(n, l.passing)
	l.passing -= n
	l.b.passing -= n
	l.b.used -= n
	l.b.wake.Broadcast()
	l.b.mu.Unlock()
}

func (b *Budget) reserve(ctx context.Context, l *Lease, n int64, passing bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fits(n) {
		if err := b.makeRoom(ctx, l, n); err != nil {
			return err
		}
	}
	b.used += n
	b.peak = max(b.peak, b.used)
	if passing {
		l.passing += n
		b.passing += n
	}
	return nil
}

// makeRoom returns, with the lock held, once n bytes fit.
func (b *Budget) makeRoom(ctx context.Context, l *Lease, n int64) error {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		b.wake.Broadcast()
		b.mu.Unlock()
	})
	defer stop()
	for !b.fits(n) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for %d bytes of the memory budget: %w", n, err)
		}
		if b.spilling || b.othersWillRelease(l) {
			b.waiting++
			b.wake.Broadcast() // whoever counted on us must look again
			b.wake.Wait()
			b.waiting--
			continue
		}
		if err := b.spillLargest(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *Budget) fits(n int64) bool { return b.limit <= 0 || b.used+n <= b.limit }

// othersWillRelease: another worker runs, and passing memory is in others' hands.
func (b *Budget) othersWillRelease(l *Lease) bool {
	return b.passing > l.passing && b.leases-b.waiting > 1
}

// spillLargest spills without the lock, so that the spilled buffer's owner may
// finish what it is doing; meanwhile everyone else waits.
func (b *Budget) spillLargest(need int64) error {
	var victim Spiller
	var size int64
	for s := range b.spillers {
		if n := s.Spillable(); n > size {
			victim, size = s, n
		}
	}
	if victim == nil {
		return fmt.Errorf("%w: %d bytes needed, %d of %d held, nothing left to spill; raise --memory or replay fewer pchannels at once", ErrBudget, need, b.used, b.limit)
	}
	b.spilling = true
	b.mu.Unlock()
	freed, err := victim.Spill()
	b.mu.Lock()
	b.spilling = false
	b.used -= freed
	b.spilled += freed
	b.wake.Broadcast()
	return err
}
