package recovery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// logCase is a log with the catalog it starts from.
type logCase struct {
	name     string
	list     []*message.Message
	pchannel string
	before   map[string][]byte
}

func generated(seed uint64) logCase {
	cfg := walgen.Config{Seed: seed, Messages: 1500, Terms: 1 + int(seed%4), TxnRatio: 0.2, DDLRatio: 0.1, Batches: seed%2 == 0,
		Secondary: seed%3 == 1, LedgerEntries: 300, Tail: int(seed % 5)}
	if seed%4 == 3 {
		cfg.Version = walgen.Version30
	}
	g := walgen.New(cfg)
	list := g.Messages()
	return logCase{fmt.Sprintf("walgen %d", seed), list, g.PChannel(), g.CatalogBefore()}
}

// seeds is how many generated logs each property is held against.
func seeds() uint64 {
	if testing.Short() {
		return 8
	}
	return 24
}

func goldenCases(t *testing.T) (out []logCase) {
	for _, name := range golden.Names(t) {
		if name == "200k" && testing.Short() {
			continue
		}
		for _, e := range golden.Expectations(t, name) {
			if e.File == "expected.json.zst" {
				out = append(out, logCase{name, inMemory(t, name).list, e.PChannel, e.KVBefore})
			}
		}
	}
	return out
}

func allCases(t *testing.T) (out []logCase) {
	for seed := range seeds() {
		out = append(out, generated(seed))
	}
	return append(out, goldenCases(t)...)
}

func (c *logCase) replay(t testing.TB, kv map[string][]byte, o recovery.ReplayOptions) *recovery.Result {
	t.Helper()
	md, _ := catalog.Decode(c.pchannel, kv)
	r, err := recovery.Replay(context.Background(), &memory{list: c.list}, md, o)
	require.NoError(t, err)
	return r
}

func persist(t testing.TB, r *recovery.Result) map[string][]byte {
	t.Helper()
	kv, err := r.State.Persist()
	require.NoError(t, err)
	return kv
}

// ticks returns the persisted TimeTicks no reader skips.
func (c *logCase) ticks() (out []uint64) {
	for _, m := range c.list {
		if m.Type == message.TypeTimeTick && (len(out) == 0 || m.TimeTick > out[len(out)-1]) {
			out = append(out, m.TimeTick)
		}
	}
	return out
}

func TestWalgenLogsReplayCleanly(t *testing.T) {
	for seed := range seeds() {
		c := generated(seed)
		r := c.replay(t, c.before, recovery.ReplayOptions{Tail: true})
		require.NotEmpty(t, r.State.Snapshot().VChannels, c.name)
		require.NotEmpty(t, r.State.Snapshot().Segments, c.name)
		for _, i := range r.State.Issues().List() {
			if i.Code != recovery.CodeTxnExpired && i.Code != recovery.CodeTxnBroken && i.Code != recovery.CodeNewerType {
				t.Errorf("%s: %+v", c.name, i)
			}
		}
	}
}

func TestReplayTwiceIsReplayOnce(t *testing.T) {
	for _, c := range allCases(t) {
		once := persist(t, c.replay(t, c.before, recovery.ReplayOptions{}))
		require.Equal(t, once, persist(t, c.replay(t, c.before, recovery.ReplayOptions{})), c.name)
		// Replaying over what was reached changes nothing.
		require.Equal(t, once, persist(t, c.replay(t, once, recovery.ReplayOptions{})), c.name)
	}
}

// Replaying to any TimeTick, persisting, and going on from there ends as
// replaying in one go: a restart at any moment loses nothing. What Milvus
// forgets on persisting (dropped vchannels) matters only to a CreateCollection
// that is sent again; none of these logs has one.
func TestPersistedPrefixPlusRestIsTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range allCases(t) {
		whole := c.replay(t, c.before, recovery.ReplayOptions{})
		want := persist(t, whole)
		ticks := slices.DeleteFunc(c.ticks(), func(tick uint64) bool { return tick <= startTick(t, c) })
		for range min(6, len(ticks)) {
			at := ticks[r.IntN(len(ticks))]
			first := c.replay(t, c.before, recovery.ReplayOptions{Until: until(at)})
			require.True(t, first.Until.Reached, "%s at %d", c.name, at)
			rest := c.replay(t, persist(t, first), recovery.ReplayOptions{})
			require.Equal(t, want, persist(t, rest), "%s split at %d", c.name, at)
			require.Equal(t, string(asJSON(t, whole.State.Snapshot())), string(asJSON(t, rest.State.Snapshot())), "%s split at %d", c.name, at)
			// Transactions given up before the split lie before the new start: fewer, but
			// the same. Where the start lies before the whole's (Milvus moves _lc past an
			// open Begin in a new term, and the next opening is right again),
			// more of them.
			few, many := txnIDs(rest), txnIDs(whole)
			if startID(t, c, persist(t, first)).Less(startID(t, c, c.before)) {
				few, many = many, few
			}
			require.Subset(t, many, few, "%s split at %d", c.name, at)
		}
	}
}

// startID is where a replay over a catalog begins to read.
func startID(t *testing.T, c logCase, keys map[string][]byte) message.ID {
	md, _ := catalog.Decode(c.pchannel, keys)
	id, err := recovery.CheckpointID(md, c.list[0].ID.Backend)
	require.NoError(t, err)
	return id
}

func startTick(t *testing.T, c logCase) uint64 {
	md, _ := catalog.Decode(c.pchannel, c.before)
	return md.Checkpoint.GetTimeTick()
}

func txnIDs(r *recovery.Result) []int64 {
	out := make([]int64, len(r.Uncommitted))
	for i, x := range r.Uncommitted {
		out[i] = x.ID
	}
	return out
}

// The tail's next state is what a replay reaches once a later TimeTick stands
// behind the log.
func TestTailIsWhatTheNextOpeningReaches(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for seed := range seeds() {
		c := generated(seed)
		for range 5 {
			cut := c
			cut.list = c.list[:1+r.IntN(len(c.list)-1)]
			got := cut.replay(t, c.before, recovery.ReplayOptions{Tail: true})
			end := *cut.list[len(cut.list)-1]
			end.Type, end.Flags, end.ID.B = message.TypeTimeTick, message.HasTimeTick, end.ID.B+1
			for _, m := range cut.list {
				end.TimeTick = max(end.TimeTick, m.TimeTick)
			}
			end.TimeTick++
			cut.list = append(slices.Clone(cut.list), &end)
			want := cut.replay(t, c.before, recovery.ReplayOptions{})
			require.Equal(t, string(asJSON(t, want.State.Snapshot().Segments)), string(asJSON(t, got.Tail.Next.Snapshot().Segments)))
			require.Equal(t, string(asJSON(t, want.State.Snapshot().VChannels)), string(asJSON(t, got.Tail.Next.Snapshot().VChannels)))
		}
	}
}

// damage does one thing to a log that a healthy writer never does.
func damage(r *rand.Rand, list []*message.Message) ([]*message.Message, string) {
	list = slices.Clone(list)
	i := r.IntN(len(list))
	m := *list[i]
	m.Props = slices.Clone(m.Props)
	list[i] = &m
	switch what := r.IntN(8); what {
	case 0:
		return slices.Delete(list, i, i+1), "one lost"
	case 1:
		n := min(len(list)-i, 1+r.IntN(40))
		return slices.Delete(list, i, i+n), "several lost"
	case 2:
		return slices.Insert(list, r.IntN(len(list)), &m), "one again elsewhere"
	case 3:
		j := r.IntN(len(list))
		list[i], list[j] = list[j], list[i]
		return list, "two swapped"
	case 4:
		m.Payload, m.PayloadSize = []byte("\xff\xff\xff"), 3
		return list, "payload overwritten"
	case 5:
		m.Type = message.Type(r.IntN(1100))
		return list, fmt.Sprintf("type %d made %d", list[i].Type, m.Type)
	case 6:
		m.TimeTick = r.Uint64()
		return list, "TimeTick overwritten"
	default:
		return redecoded(r, list, i), "property overwritten"
	}
}

// redecoded overwrites one property and decodes the message again.
func redecoded(r *rand.Rand, list []*message.Message, i int) []*message.Message {
	old := list[i]
	m := &message.Message{Ordinal: old.Ordinal, Props: slices.Clone(old.Props), Payload: old.Payload}
	m.SetRawID(old.ID, old.Form(), "")
	if len(m.Props) > 0 {
		m.Props[r.IntN(len(m.Props))].Value = []string{"", "!", "zzzzzzzzzzzzzzzzzzzzz", "AAAA", "CP////8="}[r.IntN(5)]
	}
	var d message.Decoder
	d.Decode(m)
	list[i] = m
	return list
}

// Whatever happens to a log, the replay neither panics nor hides it: either the
// state is the same, or something is listed.
func TestFaultsAreHarmlessOrListed(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 20
	}
	for seed := range seeds() {
		c := generated(seed)
		whole := c.replay(t, c.before, recovery.ReplayOptions{})
		want := persist(t, whole)
		r := rand.New(rand.NewPCG(seed, 9))
		for range rounds {
			bad := c
			var what string
			bad.list, what = damage(r, c.list)
			got := bad.replay(t, c.before, recovery.ReplayOptions{Tail: true})
			if listsMore(whole, got) || got.State.TimeTick() != whole.State.TimeTick() {
				continue
			}
			if !mapsEqual(want, persist(t, got)) && !silent(what) && !endOfLedger(c.list, bad.list) {
				t.Errorf("%s: %s changed the state and nothing is listed", c.name, what)
			}
		}
	}
}

// listsMore reports an issue of a kind the whole log has fewer of.
func listsMore(whole, got *recovery.Result) bool {
	had := map[recovery.Code]int64{}
	for _, c := range whole.State.Issues().Counts() {
		had[c.Code] = c.Messages
	}
	return slices.ContainsFunc(got.State.Issues().Counts(), func(c recovery.IssueCount) bool { return c.Messages > had[c.Code] })
}

// silent faults leave no trace in any rule: another valid message stands where
// one stood, which only a checksum could tell.
func silent(what string) bool {
	return what != "one lost" && what != "several lost" && what != "payload overwritten"
}

// endOfLedger reports a loss at the end of a ledger or of an entry whose size is
// not told: nothing in the log says what stood there.
func endOfLedger(whole, list []*message.Message) bool {
	i := 0
	for i < len(list) && whole[i].ID == list[i].ID {
		i++
	}
	return i == len(list) || list[i].ID.A != whole[i].ID.A || whole[i].Form().BatchSize == 0 && list[i].ID.Batch <= 0
}

func mapsEqual(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if string(a[k]) != string(b[k]) {
			return false
		}
	}
	return true
}

func TestUntilAnyBound(t *testing.T) {
	c := generated(2)
	ticks := c.ticks()
	mid := ticks[len(ticks)/2]
	want := persist(t, c.replay(t, c.before, recovery.ReplayOptions{Until: until(mid)}))
	var id message.ID
	for _, m := range c.list {
		if m.Type == message.TypeTimeTick && m.TimeTick == mid {
			id = m.ID
		}
	}
	byID := c.replay(t, c.before, recovery.ReplayOptions{Until: source.Bound{Kind: source.AtID, ID: id}})
	require.Equal(t, want, persist(t, byID))
	byTime := c.replay(t, c.before, recovery.ReplayOptions{Until: source.Bound{Kind: source.AtTime, Time: message.TimeOf(mid)}, Tail: true})
	require.LessOrEqual(t, message.PhysicalMillis(byTime.State.TimeTick()), message.PhysicalMillis(mid))
	whole := c.replay(t, c.before, recovery.ReplayOptions{Tail: true})
	require.Equal(t, reached(t, whole.Tail.Next), reached(t, byTime.Tail.Next), "the rest lies in the tail")

	none := c.replay(t, c.before, recovery.ReplayOptions{Until: until(ticks[len(ticks)-1] + 1<<40)})
	require.False(t, none.Until.Reached)
	require.Equal(t, recovery.CodeOpeningUnreadable, none.State.Issues().FirstObstacle(recovery.Line26).Code)
}

func reached(t *testing.T, s *recovery.State) map[string][]byte {
	t.Helper()
	kv, err := s.Persist()
	require.NoError(t, err)
	return kv
}

// Every fault the generator knows, over many logs: no panic, and a state that
// differs is never reached in silence.
func TestGeneratedFaultsAreHarmlessOrListed(t *testing.T) {
	tried := map[walgen.Fault]int{}
	for seed := range seeds() {
		c := generated(seed)
		whole := c.replay(t, c.before, recovery.ReplayOptions{Tail: true})
		want := persist(t, whole)
		for _, f := range walgen.Faults() {
			list, truth, err := walgen.Inject(c.list, f, seed)
			if err != nil {
				continue // this log has no place for it
			}
			tried[f]++
			bad := c
			bad.list = list
			got := bad.replay(t, c.before, recovery.ReplayOptions{Tail: true})
			if mapsEqual(want, persist(t, got)) || listsMore(whole, got) || f.Traceless() || got.State.TimeTick() != whole.State.TimeTick() {
				continue // a log that ends elsewhere says so by where it ends
			}
			if f == walgen.RetryDuplicate && len(recovery.Diff(want, persist(t, got))) == 1 {
				continue // the checkpoint's id: the second copy pushed the messages after it on
			}
			if tailed := got.Tail.Next; tailed != nil && len(tailed.Issues().List()) > len(whole.Tail.Next.Issues().List()) {
				continue
			}
			t.Errorf("%s: %s at %v changed the state and nothing is listed: %+v", c.name, f, truth.IDs, recovery.Diff(want, persist(t, got)))
		}
	}
	for _, f := range walgen.Faults() {
		if tried[f] == 0 && f != walgen.MissingTimeTick { // that takes a quiet stretch, and recovery does not mind
			t.Errorf("%s was never tried", f)
		}
	}
}
