package diagnose

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// judged is the verdict on a log given in batches of so many rows.
func judged(ms []*message.Message, rows int, careful bool) *VerifyReport {
	v := newVerifier(VerifyOptions{ListDropped: true})
	v.careful = careful
	for _, c := range columnsIn(ms, rows).batches {
		v.batch(c)
		scribble(c) // a reader uses its memory again
	}
	return v.report()
}

func scribble(c *message.Columns) {
	for i := range c.N {
		c.A[i], c.B[i], c.TimeTick[i], c.Segment[i], c.Term[i], c.LCB[i] = -7, -7, 7, -7, -7, -7
		c.Checksum[i], c.Collection[i], c.TxnID[i], c.Rows[i] = 7, -7, -7, 7
	}
	clear(c.Full)
}

// TestPlainRowsAreJudgedAlike: taking most rows as plain, and however the log is
// cut into batches, the verdict is that of the rules over each row.
func TestPlainRowsAreJudgedAlike(t *testing.T) {
	same := func(t *testing.T, ms []*message.Message, batches ...int) {
		t.Helper()
		want := judged(ms, 1024, true)
		for _, rows := range batches {
			require.Equal(t, want, judged(ms, rows, false), "in batches of %d", rows)
		}
	}
	for _, name := range golden.Names(t) {
		if name != "200k" {
			t.Run(name, func(t *testing.T) { same(t, goldenMessages(t, name), 1, 7, 1000, 1<<20) })
		}
	}
	t.Run("generated", func(t *testing.T) {
		same(t, walgen.New(walgen.Config{Messages: 20_000, Cheap: true, Terms: 3}).Messages(), 7, 1<<20)
		same(t, walgen.New(walgen.Config{Messages: 20_000, Terms: 3, TxnRatio: 0.3}).Messages(), 7, 1<<20)
	})
	t.Run("misplaced", func(t *testing.T) {
		for k, change := range []func(*message.Message){
			func(m *message.Message) { m.Partition++ }, func(m *message.Message) { m.Collection++ }, func(m *message.Message) { m.Segment++ },
			func(m *message.Message) { m.Rows = 0 }, func(m *message.Message) { m.BinarySize = 0 }, func(m *message.Message) { m.VChannel = "" },
		} {
			ms := walgen.New(walgen.Config{Messages: 2000, Cheap: true}).Messages()
			for i := 1000 + k; ; i++ {
				if ms[i].Type == message.TypeInsert {
					m := *ms[i]
					change(&m)
					ms[i] = &m
					break
				}
			}
			require.NotZero(t, judged(ms, 7, false).Broken, "change %d", k)
			same(t, ms, 7, 1<<20)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		for _, name := range []string{"small", "v3-small", "3k-secondary"} {
			log := rawLog(goldenMessages(t, name))
			for _, m := range mutations() {
				for k := 1; k < len(log)-1; k += len(log) / 6 {
					if out := m.do(log, k); out != nil {
						same(t, decodeLog(out), 7)
					}
				}
			}
		}
	})
	t.Run("damaged more than once", func(t *testing.T) {
		all, log := mutations(), rawLog(goldenMessages(t, "small"))
		for seed := range uint64(40) {
			rng, out := rand.New(rand.NewPCG(seed, 2)), log
			for range 2 + seed%8 {
				if next := all[rng.IntN(len(all))].do(out, 1+rng.IntN(len(out)-2)); next != nil {
					out = next
				}
			}
			same(t, decodeLog(out), 7, 1<<20)
		}
	})
}
