package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

const pchannel = "by-dev-rootcoord-dml_3"

// place is a fresh catalog to apply plans to; open gives another handle on it,
// as another process or machine has.
type place struct {
	name string
	spec string
}

func (p place) open(t testing.TB) catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), p.spec, catalog.Options{Write: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// places runs a test over every place a plan can be applied to.
func places(t *testing.T, run func(t *testing.T, fresh func(t *testing.T) place)) {
	t.Run("file", func(t *testing.T) {
		run(t, func(t *testing.T) place { return place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")} })
	})
	t.Run("kvjson", func(t *testing.T) {
		run(t, func(t *testing.T) place { return place{"kvjson", "kvjson:" + filepath.Join(t.TempDir(), "c.json")} })
	})
	t.Run("etcd", func(t *testing.T) {
		_, endpoints := testenv.Etcd(t)
		var mu sync.Mutex
		n := 0
		run(t, func(*testing.T) place {
			mu.Lock()
			defer mu.Unlock()
			n++
			return place{"etcd", fmt.Sprintf("etcd://%s/t%x-%d/meta", endpoints[0], time.Now().UnixNano(), n)}
		})
	})
}

func enc(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return b
}

// channel adds a vchannel with schemas at the TimeTicks given.
func channel(t testing.TB, kv map[string][]byte, id int, tts ...uint64) {
	name := fmt.Sprintf("%s_%dv0", pchannel, id)
	v := &streamingpb.VChannelMeta{Vchannel: name, State: 1, CheckpointTimeTick: tts[len(tts)-1],
		CollectionInfo: &streamingpb.CollectionInfoOfVChannel{CollectionId: int64(id)}}
	for _, tt := range tts {
		v.CollectionInfo.Schemas = append(v.CollectionInfo.Schemas, &streamingpb.CollectionSchemaOfVChannel{CheckpointTimeTick: tt, State: 1})
	}
	require.NoError(t, catalog.EncodeVChannel(kv, pchannel, name, v))
}

func segment(t testing.TB, kv map[string][]byte, id int64, rows uint64) {
	k, v, err := catalog.EncodeSegment(pchannel, &streamingpb.SegmentAssignmentMeta{SegmentId: id, State: 1, Stat: &streamingpb.SegmentAssignmentStat{ModifiedRows: rows}})
	require.NoError(t, err)
	kv[k] = v
}

func checkpoint(t testing.TB, kv map[string][]byte, tt uint64) {
	kv[catalog.CheckpointKey(pchannel)] = enc(t, &streamingpb.WALCheckpoint{TimeTick: tt, RecoveryMagic: 1})
}

// scenario is a catalog before and after a repair of more keys than one
// transaction takes: vchannels come, go and change their schemas.
func scenario(t testing.TB, n int) (before, after map[string][]byte) {
	before, after = map[string][]byte{}, map[string][]byte{}
	checkpoint(t, before, 100)
	checkpoint(t, after, 200)
	for i := range n {
		switch i % 4 {
		case 0: // stays
			channel(t, before, i, 7)
			channel(t, after, i, 7)
		case 1: // goes
			channel(t, before, i, 7, 8)
		case 2: // comes
			channel(t, after, i, 150, 160)
		case 3: // all its schemas are replaced
			channel(t, before, i, 7)
			channel(t, after, i, 150)
		}
		segment(t, before, int64(i), 1)
		if i%2 == 0 {
			segment(t, after, int64(i), 2)
		}
		segment(t, after, int64(10_000+i), 3)
	}
	return before, after
}

func seed(t testing.TB, c catalog.Catalog, kv map[string][]byte) {
	t.Helper()
	for part := range slices.Chunk(catalog.Keys(kv), 100) {
		puts := map[string][]byte{}
		for _, k := range part {
			puts[k] = kv[k]
		}
		_, err := c.Txn(t.Context(), catalog.Guard{}, puts, nil)
		require.NoError(t, err)
	}
}

var testLog = Log{Location: "public/default/" + pchannel, Ledgers: []string{"12", "15"}, LastID: "15/1516/0"}

// build makes the plan that brings the catalog as it is now to after.
func build(t testing.TB, c catalog.Catalog, after map[string][]byte, change func(*Input)) *Plan {
	t.Helper()
	md, _, err := c.Load(t.Context(), pchannel)
	require.NoError(t, err)
	id, err := c.Identity(t.Context())
	require.NoError(t, err)
	in := Input{
		PChannel: pchannel, Before: md.KV, Revisions: md.Revisions,
		Edits:    Replayed(pchannel, md.KV, after, KindReplayed, nil, "state-behind"),
		Coverage: Coverage{From: "12/0/0", To: testLog.LastID, Messages: 9},
		Binding:  Binding{CatalogKind: id.Kind, ClusterID: id.ClusterID, Root: id.Root, Log: testLog, Walctl: "test", Milvus: "2.6.14"},
		Created:  time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC),
	}
	if change != nil {
		change(&in)
	}
	p, err := Build(in)
	require.NoError(t, err)
	return p
}

type gate struct {
	state LogState
	err   error
}

func (g gate) State(context.Context) (LogState, error) { return g.state, g.err }

var quiet = gate{state: LogState{Log: testLog}}

func yes() Options {
	return Options{Yes: true, Reason: "test", Who: "op@host", Settle: 1, Clock: func() time.Time { return time.Date(2026, 11, 21, 3, 5, 0, 0, time.UTC) }}
}

// content is everything but walctl's own keys and the sessions.
func content(t testing.TB, c catalog.Catalog) map[string][]byte {
	t.Helper()
	kv, err := catalog.Export(t.Context(), c, "")
	require.NoError(t, err)
	maps.DeleteFunc(kv, func(k string, _ []byte) bool {
		return strings.HasPrefix(k, catalog.JournalPrefix) || strings.HasPrefix(k, catalog.SessionPrefix)
	})
	return kv
}

func requireLoads(t testing.TB, kv map[string][]byte) {
	t.Helper()
	_, problems := catalog.Decode(pchannel, kv)
	for _, p := range problems {
		require.False(t, p.Fatal, p.String())
	}
}

var errKilled = errors.New("killed")

// dying is a catalog whose process dies before or after its n-th write. Writes
// whose guard cannot hold do not count.
type dying struct {
	catalog.Catalog
	at      int
	after   bool
	writes  int // tried
	written int
	dead    bool
	between func(n int) // called before the n-th write
}

func (d *dying) Range(ctx context.Context, prefix string) ([]catalog.KV, catalog.Revision, error) {
	if d.dead {
		return nil, 0, errKilled
	}
	return d.Catalog.Range(ctx, prefix)
}

func (d *dying) Txn(ctx context.Context, g catalog.Guard, puts map[string][]byte, deletes []string) (catalog.Revision, error) {
	if d.dead {
		return 0, errKilled
	}
	for _, rev := range g.Revisions {
		if rev == catalog.NeverRevision {
			return d.Catalog.Txn(ctx, g, puts, deletes)
		}
	}
	d.writes++
	if d.between != nil {
		d.between(d.writes)
	}
	if d.writes == d.at && !d.after {
		d.dead = true
		return 0, errKilled
	}
	rev, err := d.Catalog.Txn(ctx, g, puts, deletes)
	if err == nil {
		d.written++
	}
	if d.writes == d.at && d.after {
		d.dead = true
		return 0, errKilled
	}
	return rev, err
}

func TestApplyAndUndo(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		pl := fresh(t)
		c := pl.open(t)
		before, after := scenario(t, 80)
		seed(t, c, before)
		p := build(t, c, after, nil)
		require.True(t, p.Applicable, "%v", p.NotApplicable)
		require.Greater(t, len(p.Changes), c.Limits().Ops, "more than one transaction")

		o := yes()
		o.ExportDir = t.TempDir()
		d := &dying{Catalog: c, between: func(int) { requireLoads(t, content(t, c)) }}
		res, err := Apply(t.Context(), p, d, quiet, o)
		require.NoError(t, err)
		require.Equal(t, after, content(t, c))
		require.Greater(t, res.Transactions, 1)
		saved, err := catalog.Open(t.Context(), "kvjson:"+res.Export, catalog.Options{})
		require.NoError(t, err)
		require.Equal(t, before, content(t, saved), "the keys as they were lie in a file")

		_, err = Apply(t.Context(), p, c, quiet, o)
		requireRefused(t, err, CodeAppliedBefore)
		js, err := Journals(t.Context(), c)
		require.NoError(t, err)
		require.Len(t, js, 1)
		require.Equal(t, [4]string{"op@host", "test", string(Applied), p.ID}, [4]string{js[0].Who, js[0].Reason, string(js[0].State), js[0].ID})

		d = &dying{Catalog: pl.open(t), between: func(int) { requireLoads(t, content(t, c)) }}
		_, err = Undo(t.Context(), Latest, d, quiet, yes())
		require.NoError(t, err)
		require.Equal(t, before, content(t, c))
		_, err = Undo(t.Context(), p.ID, c, quiet, yes())
		requireRefused(t, err, CodeAppliedBefore)
		_, err = Undo(t.Context(), Latest, c, quiet, yes())
		require.ErrorIs(t, err, ErrNoJournal)
	})
}

func requireRefused(t testing.TB, err error, code string) *RefusedError {
	t.Helper()
	var r *RefusedError
	require.ErrorAs(t, err, &r)
	require.ErrorIs(t, err, ErrRefused)
	require.True(t, r.Has(code), "want %s: %v", code, err)
	return r
}

// A process that dies before or after any write leaves what another machine can
// finish, and what yet another can take back.
func TestDeathAtEveryWrite(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		for at := 1; ; at++ {
			deaths := 0
			for _, afterWrite := range []bool{false, true} {
				// Applied again, it is finished; undone, it is as before.
				for _, finish := range []bool{true, false} {
					pl := fresh(t)
					c := pl.open(t)
					seed(t, c, before)
					p := build(t, c, after, nil)
					d := &dying{Catalog: c, at: at, after: afterWrite}
					_, err := Apply(t.Context(), p, d, quiet, yes())
					if !d.dead {
						require.NoError(t, err)
						continue
					}
					deaths++
					require.ErrorIs(t, err, errKilled)
					requireLoads(t, content(t, c))
					other := pl.open(t)
					if finish {
						finishApply(t, p, other)
						require.Equal(t, after, content(t, other))
					} else {
						undoWhatIs(t, other)
						require.Equal(t, before, content(t, other))
					}
				}
			}
			if deaths == 0 {
				require.Greater(t, at, 3)
				break
			}
		}
	})
}

// finishApply applies again what may be done already.
func finishApply(t *testing.T, p *Plan, c catalog.Catalog) {
	t.Helper()
	if _, err := Apply(t.Context(), p, c, quiet, yes()); err != nil {
		requireRefused(t, err, CodeAppliedBefore)
	}
}

// undoWhatIs takes back what stands, if anything does.
func undoWhatIs(t *testing.T, c catalog.Catalog) {
	t.Helper()
	if _, err := Undo(t.Context(), Latest, c, quiet, yes()); err != nil {
		require.ErrorIs(t, err, ErrNoJournal)
	}
}

// Undo dies as well as apply does: run again, elsewhere, it ends.
func TestDeathAtEveryWriteOfUndo(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		for at := 1; ; at++ {
			deaths := 0
			for _, afterWrite := range []bool{false, true} {
				pl := fresh(t)
				c := pl.open(t)
				seed(t, c, before)
				_, err := Apply(t.Context(), build(t, c, after, nil), c, quiet, yes())
				require.NoError(t, err)
				d := &dying{Catalog: pl.open(t), at: at, after: afterWrite}
				_, err = Undo(t.Context(), Latest, d, quiet, yes())
				if d.dead {
					deaths++
					require.ErrorIs(t, err, errKilled)
					requireLoads(t, content(t, c))
					undoWhatIs(t, pl.open(t))
				}
				require.Equal(t, before, content(t, c))
			}
			if deaths == 0 {
				require.Greater(t, at, 3)
				return
			}
		}
	})
}

// A Milvus that comes up between any two writes stops the apply; once it is gone
// again the way back is open.
func TestSessionBetweenWrites(t *testing.T) {
	const session = "session/streamingnode-12"
	value := []byte(`{"ServerID":12,"ServerName":"streamingnode","Address":"10.0.0.7:22222","HostName":"by-streamingnode-7d9f6c5b4-x2x4z"}`)
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		for at := 1; ; at++ {
			pl := fresh(t)
			c := pl.open(t)
			seed(t, c, before)
			seed(t, c, map[string][]byte{catalog.SessionCounterKey: []byte("13")})
			d := &dying{Catalog: c, between: func(n int) {
				if n == at {
					seed(t, c, map[string][]byte{session: value})
				}
			}}
			_, err := Apply(t.Context(), build(t, c, after, nil), d, quiet, yes())
			if d.writes < at {
				require.NoError(t, err)
				require.Greater(t, at, 3)
				return
			}
			r := requireRefused(t, err, CodeLiveSession)
			require.Equal(t, at-1, r.Written)
			require.Contains(t, err.Error(), "kubectl scale deployment by-streamingnode --replicas=0")
			requireLoads(t, content(t, c))
			if at == 1 {
				require.Equal(t, before, content(t, c))
			}
			_, err = Undo(t.Context(), r.Journal, pl.open(t), quiet, yes())
			if at > 1 {
				requireRefused(t, err, CodeLiveSession)
			}
			_, err = c.Txn(t.Context(), catalog.Guard{}, nil, []string{session})
			require.NoError(t, err)
			undoWhatIs(t, pl.open(t))
			require.Equal(t, before, content(t, c))
		}
	})
}

// Of two that apply at once, one wins and the other has written nothing.
func TestTwoAtOnce(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		other := maps.Clone(after)
		segment(t, other, 77_777, 9)
		for _, same := range []bool{true, false} {
			pl := fresh(t)
			c := pl.open(t)
			seed(t, c, before)
			plans := []*Plan{build(t, c, after, nil), build(t, c, other, nil)}
			if same {
				plans[1] = plans[0]
			}
			errs, writers := make([]error, 2), make([]*dying, 2)
			var wg sync.WaitGroup
			for i := range 2 {
				writers[i] = &dying{Catalog: pl.open(t)}
				wg.Go(func() { _, errs[i] = Apply(t.Context(), plans[i], writers[i], quiet, yes()) })
			}
			wg.Wait()
			won := slices.Index(errs, nil)
			require.NotEqual(t, -1, won, "%v", errs)
			require.ErrorIs(t, errs[1-won], ErrRefused)
			if same {
				require.Equal(t, after, content(t, c))
				continue
			}
			require.Zero(t, writers[1-won].written)
			require.Equal(t, []map[string][]byte{after, other}[won], content(t, c))
			js, err := Journals(t.Context(), c)
			require.NoError(t, err)
			require.Len(t, js, 1)
		}
	})
}

// Who finds the same plan half done, and moving, keeps out of it.
func TestSamePlanStillMoving(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		for name, second := range map[string]func(p *Plan, c catalog.Catalog, o Options) error{
			"apply": func(p *Plan, c catalog.Catalog, o Options) error {
				_, err := Apply(t.Context(), p, c, quiet, o)
				return err
			},
			"undo": func(p *Plan, c catalog.Catalog, o Options) error {
				_, err := Undo(t.Context(), p.ID, c, quiet, o)
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				pl := fresh(t)
				c := pl.open(t)
				seed(t, c, before)
				p := build(t, c, after, nil)
				_, err := Apply(t.Context(), p, &dying{Catalog: c, at: 2}, quiet, yes())
				require.ErrorIs(t, err, errKilled)
				late := &dying{Catalog: pl.open(t)}
				o := yes()
				o.Sleep = func(context.Context, time.Duration) error { // the first goes on meanwhile
					_, err := Apply(t.Context(), p, c, quiet, yes())
					require.NoError(t, err)
					return nil
				}
				requireRefused(t, second(p, late, o), CodeRaced)
				require.Zero(t, late.written)
				require.Equal(t, after, content(t, c))
			})
		}
	})
}

func TestPlanFile(t *testing.T) {
	before, after := scenario(t, 8)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	p := build(t, c, after, func(in *Input) { in.Blast = []Blast{{VChannel: "v", Rows: 5}} })
	path := filepath.Join(t.TempDir(), "p.json")
	b, err := Encode(p)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	got, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, p, got)
	_, err = Apply(t.Context(), got, c, quiet, yes())
	require.NoError(t, err, "a plan that was saved is applied as one that was not")

	b = readFile(t, path)
	for name, change := range map[string]func([]byte) []byte{
		"value": func(b []byte) []byte { return bytes.Replace(b, []byte(`"rows": 5`), []byte(`"rows": 6`), 1) },
		"revision": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"mod_revision": 1`), []byte(`"mod_revision": 2`), 1)
		},
		"id":        func(b []byte) []byte { return bytes.Replace(b, []byte(p.ID), []byte("20260101T000000Z-00000000"), 1) },
		"reordered": func(b []byte) []byte { return bytes.Replace(b, []byte(`"root": "`), []byte(`"root": "x`), 1) },
	} {
		changed := change(bytes.Clone(b))
		require.NotEqual(t, b, changed, name)
		_, err = Parse(changed)
		requireRefused(t, err, CodeTampered)
	}
	_, err = Parse(bytes.Replace(b, []byte(`"schema": "walctl/plan/v1"`), []byte(`"schema": "walctl/plan/v2"`), 1))
	requireRefused(t, err, CodePlanSchema)
	for _, bad := range []string{"", "null", "[]", "{}", `{"schema":"walctl/plan/v1","extra":1}`, string(b[:len(b)/2])} {
		_, err = Parse([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":"walctl/plan/v1","changes":[{"key":"a","old":null,"new":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Parse(b); err == nil && p.Verify() != nil {
			t.Fatal("parsed, but not verified")
		}
	})
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	return b
}

// What was cut off says how far it came, and the other journals stay in sight.
func TestHalfDoneIsSaid(t *testing.T) {
	before, after := scenario(t, 60)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	p := build(t, c, after, nil)
	res, err := Apply(t.Context(), p, &dying{Catalog: c, at: 2}, quiet, yes())
	require.ErrorIs(t, err, errKilled)
	require.Equal(t, len(p.Changes), res.Keys)
	require.Positive(t, res.KeysWritten)
	require.Less(t, res.KeysWritten, res.Keys)
	written := res.KeysWritten

	// A write that came through before the connection was lost counts.
	ctx, cancel := context.WithCancel(t.Context())
	res, err = Apply(ctx, p, &cutOff{c, cancel}, quiet, yes())
	require.Error(t, err)
	require.Greater(t, res.KeysWritten, written)

	seed(t, c, map[string][]byte{headerKey("29990101T000000Z-newer"): []byte(`{"schema":"walctl/journal/v9"}`), headerKey("broken"): []byte("{")})
	all, err := Journals(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.Equal(t, [2]State{Damaged, Damaged}, [2]State{all[0].State, all[1].State})
	require.NotEmpty(t, all[0].Problem)
	_, err = Undo(t.Context(), "broken", c, quiet, yes())
	require.ErrorIs(t, err, ErrCorrupt)
	res, err = Undo(t.Context(), Latest, &dying{Catalog: c, at: 2}, quiet, yes())
	require.ErrorIs(t, err, errKilled)
	require.Positive(t, res.KeysWritten)
	require.Less(t, res.KeysWritten, res.Keys)
	undoWhatIs(t, c)
	require.Equal(t, before, content(t, c))
}

// cutOff is a catalog whose first write comes through, but not its answer.
type cutOff struct {
	catalog.Catalog
	cancel context.CancelFunc
}

func (c *cutOff) Txn(ctx context.Context, g catalog.Guard, puts map[string][]byte, deletes []string) (catalog.Revision, error) {
	rev, err := c.Catalog.Txn(ctx, g, puts, deletes)
	if g.Revisions[activeKey] == catalog.NeverRevision {
		return rev, err
	}
	c.cancel()
	return 0, context.Canceled
}
