package channelbuf_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// TestGoldenLogsRegisterTwice: the whole of every golden log, twice, from three
// feeders in any interleaving, each cancelled and begun anew at random, ends in
// the registry one undisturbed pass ends in.
func TestGoldenLogsRegisterTwice(t *testing.T) {
	for _, name := range golden.Names(t) {
		t.Run(name, func(t *testing.T) {
			list := deliveries(t, golden.WAL(t, name))
			want := func() map[string]uint64 {
				budget := channelbuf.NewBudget(0)
				r := channelbuf.NewRegistry(budget, t.TempDir())
				defer r.Close()
				f := newFeeder(t, r, budget.Join())
				for _, d := range list {
					require.NoError(t, f.Observe(context.Background(), d))
				}
				return digests(t, r)
			}()
			require.NotEmpty(t, want)
			for seed := range uint64(rounds(len(list))) {
				budget := channelbuf.NewBudget(0)
				r := channelbuf.NewRegistry(budget, t.TempDir())
				interleave(t, r, budget, list, rand.New(rand.NewPCG(seed, 7)))
				require.Equal(t, want, digests(t, r), "seed %d", seed)
				r.Close()
				require.Zero(t, budget.Usage().Used, "nothing leaked")
			}
		})
	}
}

// rounds is how many interleavings of a log are tried: many of a short one.
func rounds(n int) int { return min(max(100_000/max(n, 1), 1), 30) }

// interleave feeds the log through three workers in random steps. Any of them is
// cancelled now and then and begins anew; it ends when two got through.
func interleave(t *testing.T, r *channelbuf.Registry, budget *channelbuf.Budget, list []order.Delivery, rng *rand.Rand) {
	type worker struct {
		f     *channelbuf.Feeder
		lease *channelbuf.Lease
		at    int
	}
	begin := func() *worker {
		l := budget.Join()
		return &worker{f: newFeeder(t, r, l), lease: l}
	}
	workers := []*worker{begin(), begin(), begin()}
	cancelled, stop := context.WithCancel(context.Background())
	stop()
	for through, cancels := 0, 0; through < 2; {
		i := rng.IntN(len(workers))
		w := workers[i]
		for step := 1 + rng.IntN(len(list)/3+1); step > 0 && w.at < len(list); step-- {
			require.NoError(t, w.f.Observe(context.Background(), list[w.at]))
			w.at++
		}
		switch {
		case w.at == len(list):
			through++
		case cancels < 6 && rng.IntN(2) == 0:
			cancels++
			_ = w.f.Observe(cancelled, list[w.at]) // may be applied or not
		default:
			continue
		}
		w.lease.Leave()
		workers[i] = begin()
	}
	for _, w := range workers {
		w.lease.Leave()
	}
}

func newFeeder(t *testing.T, r *channelbuf.Registry, l *channelbuf.Lease) *channelbuf.Feeder {
	f, err := channelbuf.NewFeeder(r, l, 3, nil)
	require.NoError(t, err)
	return f
}

func digests(t *testing.T, r *channelbuf.Registry) map[string]uint64 {
	out := map[string]uint64{}
	for _, b := range r.Buffers() {
		d, err := b.Digest()
		require.NoError(t, err)
		require.NotContains(t, out, b.VChannel(), "one live buffer a vchannel")
		out[b.VChannel()] = d
	}
	return out
}

// deliveries reads a log as a scanner delivers it, less the TimeTicks.
func deliveries(t *testing.T, path string) []order.Delivery {
	rd, err := jsonl.Open(path).Open(context.Background(), source.Range{Payload: source.PayloadAll})
	require.NoError(t, err)
	defer rd.Close()
	s := order.NewScanner(rd, order.Options{})
	var out []order.Delivery
	for {
		d, err := s.Next(context.Background())
		if err != nil {
			return out
		}
		if d.Message.Type != message.TypeTimeTick {
			out = append(out, d)
		}
	}
}
