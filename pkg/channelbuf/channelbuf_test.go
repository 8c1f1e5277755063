package channelbuf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

func insert(tick uint64, seg int64, size int) order.Delivery {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(tick + uint64(i))
	}
	return order.Delivery{TimeTick: tick, Message: &message.Message{ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(tick)},
		Type: message.TypeInsert, TimeTick: tick, Segment: seg, Partition: 7, Rows: 3, BinarySize: uint64(size), Payload: p}}
}

func flush(tick uint64, seg int64) order.Delivery {
	d := insert(tick, seg, 0)
	d.Message.Type, d.Message.Payload = message.TypeFlush, nil
	return d
}

func appendAll(t testing.TB, b *Buffer, l *Lease, ds ...order.Delivery) {
	t.Helper()
	for _, d := range ds {
		_, err := b.Append(context.Background(), l, d)
		require.NoError(t, err)
	}
}

func TestRegisterIsIdempotent(t *testing.T) {
	budget := NewBudget(0)
	r := NewRegistry(budget, t.TempDir())
	l := budget.Join()
	first, out, err := r.Register("v0", Incarnation{Term: 1, Checkpoint: 5})
	require.NoError(t, err)
	require.Equal(t, Created, out)
	appendAll(t, first, l, insert(10, 1, 1000))

	same, out, err := r.Register("v0", Incarnation{Term: 1, Checkpoint: 5})
	require.NoError(t, err)
	require.Equal(t, Existing, out)
	require.Same(t, first, same)
	require.Positive(t, budget.Usage().Used)

	next, out, err := r.Register("v0", Incarnation{Term: 2, Checkpoint: 5})
	require.NoError(t, err)
	require.Equal(t, Superseded, out)
	require.NotSame(t, first, next)
	require.Zero(t, budget.Usage().Used, "the old buffer's memory is released before Register returns")
	_, err = first.Append(context.Background(), l, insert(11, 1, 10))
	require.ErrorIs(t, err, ErrReleased)

	_, _, err = r.Register("v0", Incarnation{Term: 1, Checkpoint: 9})
	var stale *StaleError
	require.ErrorAs(t, err, &stale)
	require.Equal(t, Incarnation{Term: 2, Checkpoint: 5}, stale.Have)

	require.False(t, r.Release("v0", Incarnation{Term: 1, Checkpoint: 5}), "a superseded incarnation releases nothing")
	require.True(t, r.Release("v0", Incarnation{Term: 2, Checkpoint: 5}))
	require.False(t, r.Release("v0", Incarnation{Term: 2, Checkpoint: 5}))
}

func TestAppendOnce(t *testing.T) {
	budget := NewBudget(0)
	r := NewRegistry(budget, t.TempDir())
	b, _, _ := r.Register("v0", Incarnation{Term: 1, Checkpoint: 5})
	l := budget.Join()
	appendAll(t, b, l, insert(5, 1, 10), insert(10, 1, 100), insert(11, 2, 100), flush(12, 2))
	want, err := b.Digest()
	require.NoError(t, err)
	used := budget.Usage().Used
	appendAll(t, b, l, insert(10, 1, 100), insert(11, 2, 100), flush(12, 2)) // replayed from the start
	got, err := b.Digest()
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, used, budget.Usage().Used)
	v := b.View()
	require.Len(t, v.Segments, 2)
	require.EqualValues(t, 3, v.Segments[0].Rows, "the message at the checkpoint is not buffered")
	require.True(t, v.Segments[1].Flushed)
	require.Zero(t, v.Segments[1].Size)
	appendAll(t, b, l, insert(13, 2, 10))
	require.EqualValues(t, 3, b.View().LateRows)
}

func TestSpillKeepsContents(t *testing.T) {
	plain := NewRegistry(NewBudget(0), t.TempDir())
	limited := NewBudget(64 << 10)
	small := NewRegistry(limited, t.TempDir())
	a, _, _ := plain.Register("v0", Incarnation{Term: 1})
	b, _, _ := small.Register("v0", Incarnation{Term: 1})
	la, lb := plain.budget.Join(), limited.Join()
	for tick := uint64(1); tick <= 300; tick++ {
		d := insert(tick, int64(tick%5), 700)
		appendAll(t, a, la, d)
		appendAll(t, b, lb, d)
	}
	want, err := a.Digest()
	require.NoError(t, err)
	got, err := b.Digest()
	require.NoError(t, err)
	require.Equal(t, want, got)
	u := limited.Usage()
	require.Positive(t, u.Spilled)
	require.LessOrEqual(t, u.Peak, u.Limit)
}

func TestBudgetRefusesWhatCannotFit(t *testing.T) {
	budget := NewBudget(10_000)
	b, _, _ := NewRegistry(budget, t.TempDir()).Register("v0", Incarnation{})
	_, err := b.Append(context.Background(), budget.Join(), insert(1, 1, 20_000))
	require.ErrorIs(t, err, ErrBudget)
	require.Zero(t, budget.Usage().Used)
}

func TestWaiterStopsWithItsContext(t *testing.T) {
	budget := NewBudget(1000)
	holder, waiter := budget.Join(), budget.Join()
	require.NoError(t, holder.ReservePassing(context.Background(), 900))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- waiter.ReservePassing(ctx, 500) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	go func() { done <- waiter.ReservePassing(context.Background(), 500) }()
	time.Sleep(time.Millisecond)
	holder.ReleasePassing(900)
	require.NoError(t, <-done)
	waiter.Leave()
	holder.Leave()
	require.Zero(t, budget.Usage().Used)
}

// TestAccountingIsExact reads what the runtime really holds.
func TestAccountingIsExact(t *testing.T) {
	for _, size := range []int{100, 1000, 5000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			budget := NewBudget(0)
			r := NewRegistry(budget, t.TempDir())
			b, _, _ := r.Register("v0", Incarnation{})
			l := budget.Join()
			before := heap()
			rng := rand.New(rand.NewPCG(1, uint64(size)))
			for tick := uint64(1); budget.Usage().Used < 64<<20; tick++ {
				appendAll(t, b, l, insert(tick, int64(tick%16), size/2+rng.IntN(size)))
			}
			used := float64(budget.Usage().Used)
			real := float64(heap() - before)
			require.InDelta(t, 1, used/real, 0.10, "accounted %.0f, the heap holds %.0f", used, real)
			runtime.KeepAlive(b)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestInterleavings drives many goroutines through every operation in random
// order: one live buffer a vchannel, contents equal to a sequential replay, the
// budget never exceeded, nothing leaked.
func TestInterleavings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		workers := rapid.IntRange(1, 8).Draw(rt, "workers")
		vchannels := rapid.IntRange(1, 3).Draw(rt, "vchannels")
		n := rapid.IntRange(1, 60).Draw(rt, "messages")
		seed := rapid.Uint64().Draw(rt, "seed")
		limit := int64(rapid.SampledFrom([]int{0, 24 << 10, 64 << 10}).Draw(rt, "limit"))
		budget := NewBudget(limit)
		r := NewRegistry(budget, "")
		logs := make([][]order.Delivery, vchannels)
		for v := range logs {
			rng := rand.New(rand.NewPCG(seed, uint64(v)))
			for i := range n {
				if rng.IntN(10) == 0 {
					logs[v] = append(logs[v], flush(uint64(i+1), rng.Int64N(4)))
				} else {
					logs[v] = append(logs[v], insert(uint64(i+1), rng.Int64N(4), rng.IntN(1500)))
				}
			}
		}
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() { churn(r, budget, logs, rand.New(rand.NewPCG(seed, uint64(1000+w)))) })
		}
		group.Wait()
		last := Incarnation{Term: 100}
		l := budget.Join()
		for v, log := range logs {
			name := fmt.Sprint("v", v)
			want := sequential(rt, name, log, last)
			b, _, err := r.Register(name, last)
			require.NoError(rt, err)
			appendAll(t, b, l, log...)
			got, err := b.Digest()
			require.NoError(rt, err)
			require.Equal(rt, want, got)
		}
		l.Leave()
		require.Len(rt, r.Buffers(), vchannels)
		u := budget.Usage()
		if limit > 0 {
			require.LessOrEqual(rt, u.Peak, limit)
		}
		r.Close()
		require.Zero(rt, budget.Usage().Used, "nothing leaked")
		require.Empty(rt, budget.spillers)
	})
}

// churn registers, replays, cancels, crashes and releases at random.
func churn(r *Registry, budget *Budget, logs [][]order.Delivery, rng *rand.Rand) {
	l := budget.Join()
	defer l.Leave()
	for range 6 {
		v := rng.IntN(len(logs))
		name, inc := fmt.Sprint("v", v), Incarnation{Term: int64(rng.IntN(4))}
		b, _, err := r.Register(name, inc)
		var stale *StaleError
		if errors.As(err, &stale) {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		stop := rng.IntN(len(logs[v]) + 1) // cancelled half-way
		for i, d := range logs[v] {
			if i == stop {
				cancel()
				break
			}
			if _, err := b.Append(ctx, l, d); err != nil {
				break
			}
		}
		cancel()
		if rng.IntN(3) == 0 {
			r.Release(name, inc)
			r.Release(name, inc)
		}
	}
}

func sequential(t require.TestingT, name string, log []order.Delivery, inc Incarnation) uint64 {
	budget := NewBudget(0)
	r := NewRegistry(budget, "")
	b, _, err := r.Register(name, inc)
	require.NoError(t, err)
	l := budget.Join()
	for _, d := range log {
		_, err := b.Append(context.Background(), l, d)
		require.NoError(t, err)
	}
	digest, err := b.Digest()
	require.NoError(t, err)
	return digest
}

func BenchmarkRegister10000(b *testing.B) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("by-dev-rootcoord-dml_%d_%dv0", i%16, i)
	}
	for b.Loop() {
		r := NewRegistry(NewBudget(0), "")
		for _, n := range names {
			if _, _, err := r.Register(n, Incarnation{Term: 1}); err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
	}
	b.ReportMetric(float64(len(names)*b.N)/b.Elapsed().Seconds(), "registrations/s")
}

func BenchmarkAppend(b *testing.B) {
	budget := NewBudget(256 << 20)
	r := NewRegistry(budget, b.TempDir())
	buf, _, _ := r.Register("v0", Incarnation{})
	l := budget.Join()
	d := insert(1, 1, 400)
	tick := uint64(0)
	for b.Loop() {
		tick++
		d.TimeTick = tick
		d.Message.ID.B = int64(tick)
		if _, err := buf.Append(context.Background(), l, d); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	r.Close()
}
