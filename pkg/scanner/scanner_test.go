package scanner_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/scanner"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// generated is a log of made-up data.
func generated(t *testing.T, seed uint64) []*message.Message {
	t.Helper()
	ms := walgen.New(walgen.Config{Seed: seed, Messages: 600, Terms: 3}).Messages()
	for len(ms) > 0 && ms[len(ms)-1].Type != message.TypeTimeTick {
		ms = ms[:len(ms)-1]
	}
	return ms
}

// Capacity, keepalive and idle time move where a scanner meets the buffer, never whether;
// where it starts, whether the log was trimmed, and the policy decide that.
func TestSizesMoveOnlyThePlace(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for seed := range uint64(4) {
		log := generated(t, seed)
		for range 150 {
			o := scanner.Options{
				Policy: scanner.Policy(rnd.IntN(5)), Start: scanner.Start{Kind: scanner.StartKind(rnd.IntN(int(scanner.StartFromID)))},
				Capacity: 1 << rnd.IntN(24), Keepalive: time.Duration(rnd.IntN(60_000)) * time.Millisecond,
				Idle: time.Duration(rnd.IntN(120_000)) * time.Millisecond, Trimmed: rnd.IntN(4) == 0, ResumeAt: -1,
			}
			if rnd.IntN(3) == 0 {
				o.Start = scanner.Start{Kind: scanner.StartFromID + scanner.StartKind(rnd.IntN(2)), ID: log[rnd.IntN(len(log)-1)].ID.String()}
			}
			r, err := scanner.Simulate(t.Context(), &list{records: log}, o)
			require.NoError(t, err)
			end := o.Start.Kind == scanner.StartLatest || o.Start.Kind == scanner.StartAfterLast
			hangs := (end || o.Trimmed) && o.Policy < scanner.Policy41345
			require.Equal(t, hangs, r.Outcome == scanner.Hangs, "%+v", o)
			require.Equal(t, end || o.Trimmed, r.Forced || hangs, "%+v", o)
			if r.Outcome == scanner.Meets && !r.Forced {
				require.Equal(t, log[r.AtI].ID.String(), r.AtIDs)
				require.Equal(t, message.TypeTimeTick, log[r.AtI].Type)
				require.GreaterOrEqual(t, r.AtTimeTick, r.Buffer.Oldest)
			}
		}
	}
}

// A slow consumer hangs only where its scanner fell back on a log trimmed meanwhile; it
// never gets over to the buffer before what it had consumed.
func TestSlowConsumerHangsOnlyOnATrimmedLog(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	hung, fell := 0, 0
	for seed := range uint64(4) {
		log := generated(t, seed)
		opening := 0
		for i, m := range log {
			if m.OpensTerm() {
				opening = i
			}
		}
		for range 150 {
			o := scanner.Options{
				Policy: scanner.Policy(rnd.IntN(5)), Capacity: 1 << rnd.IntN(20), Keepalive: time.Duration(rnd.IntN(20_000)) * time.Millisecond,
				Idle: time.Duration(rnd.IntN(60_000)) * time.Millisecond, Trimmed: rnd.IntN(2) == 0,
				PauseAfter: log[opening+rnd.IntN((len(log)-opening)/2)].ID.String(), ResumeAt: int64(opening + rnd.IntN(len(log)-opening)),
			}
			if rnd.IntN(2) == 0 {
				o.ResumeAt = -1 // when nothing is written any more
			}
			r, err := scanner.Simulate(t.Context(), &list{records: log}, o)
			require.NoError(t, err, "%+v", o)
			last := r.Switch[len(r.Switch)-1]
			if last.Mode == scanner.CatchUp {
				require.Equal(t, scanner.Hangs, r.Outcome)
				require.True(t, o.Trimmed, "%+v", o)
				hung++
				continue
			}
			require.Equal(t, scanner.Meets, r.Outcome)
			if len(r.Switch) > 1 {
				fell++
				before := r.Switch[len(r.Switch)-2].Place
				require.Greater(t, last.Place.TimeTick, before.TimeTick, "%+v", o)
			}
		}
	}
	require.Positive(t, hung)
	require.Positive(t, fell)
}

// What the log does not hold is told, not guessed.
func TestLogsWithoutAnOpening(t *testing.T) {
	log := generated(t, 1)
	at := slices.IndexFunc(log, func(m *message.Message) bool { return !m.OpensTerm() && m.Type == message.TypeTimeTick })
	var rest []*message.Message
	for _, m := range log[at-1:] {
		if m.OpensTerm() {
			break
		}
		rest = append(rest, m)
	}
	r, err := scanner.Simulate(t.Context(), &list{records: rest}, scanner.Options{Policy: scanner.Policy41470, Capacity: 1 << 20, Keepalive: time.Minute, ResumeAt: -1})
	require.NoError(t, err)
	require.False(t, r.Opened)
	require.Equal(t, log[at].ID.String(), r.Born.IDs)

	_, err = scanner.Simulate(t.Context(), &list{}, scanner.Options{})
	require.ErrorIs(t, err, scanner.ErrNoTimeTick)
	_, err = scanner.Simulate(t.Context(), &list{records: log}, scanner.Options{Capacity: 1, PauseAfter: "x"})
	var id *scanner.IDError
	require.ErrorAs(t, err, &id)
	_, err = scanner.Simulate(t.Context(), &list{records: log}, scanner.Options{Capacity: 1, ResumeAt: -1, PauseAfter: "999999/1/0"})
	var never *scanner.NotReachedError
	require.ErrorAs(t, err, &never)
}
