// Package catalogtest holds every catalog backend to one behaviour: whatever
// place the metadata lies in, ranges, guards and transactions mean the same.
package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// Backend is one place a catalog can lie in.
type Backend struct {
	// New makes an empty place for this test and returns how to open it. Each
	// call of open is another handle, as of another process.
	New func(t *testing.T) (open func(t *testing.T, opts catalog.Options) catalog.Catalog)
	// ChecksumRevisions: a key put with the value it has keeps its revision.
	ChecksumRevisions bool
}

// Run holds a backend that can be written to the whole suite.
func Run(t *testing.T, b Backend) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"empty", empty},
		{"values come back", valuesComeBack},
		{"a prefix ends at its slash", prefixes},
		{"a guard sees every change", guardSeesChanges},
		{"a failed guard writes nothing", failedGuardWritesNothing},
		{"sessions bar, their counter does not", sessionsBar},
		{"revisions move", revisionsMove},
		{"one of many wins", oneOfManyWins},
		{"the permission proof writes nothing", permissionProof},
		{"opened for reading", readOnly},
		{"a cancelled context", cancelled},
		{"too large", tooLarge},
		{"load", loads},
		{"identity", identity},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := b.New(t)
			c.run(t, &fixture{Backend: b, open: open, cat: open(t, catalog.Options{Write: true})})
		})
	}
}

type fixture struct {
	Backend
	open func(t *testing.T, opts catalog.Options) catalog.Catalog
	cat  catalog.Catalog
}

func (f *fixture) put(t *testing.T, kv map[string]string) catalog.Revision {
	t.Helper()
	puts := map[string][]byte{}
	for k, v := range kv {
		puts[k] = []byte(v)
	}
	rev, err := f.cat.Txn(t.Context(), catalog.Guard{}, puts, nil)
	require.NoError(t, err)
	return rev
}

func (f *fixture) all(t *testing.T, prefix string) map[string]string {
	t.Helper()
	kvs, _, err := f.cat.Range(t.Context(), prefix)
	require.NoError(t, err)
	out := map[string]string{}
	for i, kv := range kvs {
		out[kv.Key] = string(kv.Value)
		require.Positive(t, kv.ModRevision, kv.Key)
		if i > 0 {
			require.Less(t, kvs[i-1].Key, kv.Key, "key order")
		}
	}
	return out
}

func (f *fixture) revision(t *testing.T, key string) int64 {
	t.Helper()
	kvs, _, err := f.cat.Range(t.Context(), key)
	require.NoError(t, err)
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.ModRevision
		}
	}
	return 0
}

func empty(t *testing.T, f *fixture) {
	require.Empty(t, f.all(t, ""))
	md, _, err := f.cat.Load(t.Context(), "dml_0")
	require.NoError(t, err)
	require.Nil(t, md.Checkpoint)
	require.Empty(t, md.KV)
}

func valuesComeBack(t *testing.T, f *fixture) {
	want := map[string]string{"a": "", "b/\x00\xff": "\x00\xff\xfe", "c/d": "text", "ü": string(make([]byte, 300_000))}
	if f.ChecksumRevisions {
		delete(want, "b/\x00\xff") // JSON keys are text
	}
	f.put(t, want)
	require.Equal(t, want, f.all(t, ""))
	_, err := f.cat.Txn(t.Context(), catalog.Guard{}, map[string][]byte{"c/d": []byte("new")}, []string{"a", "never there"})
	require.NoError(t, err)
	delete(want, "a")
	want["c/d"] = "new"
	require.Equal(t, want, f.all(t, ""))
}

func prefixes(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"w/dml_1/x": "1", "w/dml_10/x": "10", "w/dml_1": "base", "w0": "behind"})
	require.Equal(t, map[string]string{"w/dml_1/x": "1"}, f.all(t, "w/dml_1/"))
	require.Len(t, f.all(t, "w/"), 3)
	require.Len(t, f.all(t, ""), 4)
	require.Empty(t, f.all(t, "w/dml_2"))
}

func guardSeesChanges(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "1", "other": "1"})
	seen := f.revision(t, "k")
	f.put(t, map[string]string{"other": "2"})
	require.Equal(t, seen, f.revision(t, "k"), "another key's change is not this one's")
	f.put(t, map[string]string{"k": "2"})
	for name, g := range map[string]catalog.Guard{
		"changed":       {Revisions: map[string]int64{"k": seen}},
		"exists":        {Revisions: map[string]int64{"k": 0}},
		"is gone":       {Revisions: map[string]int64{"missing": seen}},
		"one of two":    {Revisions: map[string]int64{"other": f.revision(t, "other"), "k": seen}},
		"range is full": {Empty: []catalog.KeyRange{catalog.PrefixRange("ot")}},
	} {
		_, err := f.cat.Txn(t.Context(), g, map[string][]byte{"k": []byte("wrong"), "new": nil}, []string{"other"})
		c, ok := catalog.IsConflict(err)
		require.True(t, ok, "%s: %v", name, err)
		require.Equal(t, 1, len(c.Changed)+len(c.Present), "%s: %v", name, err)
	}
	require.Equal(t, map[string]string{"k": "2", "other": "2"}, f.all(t, ""))
	_, err := f.cat.Txn(t.Context(), catalog.Guard{
		Revisions: map[string]int64{"k": f.revision(t, "k"), "missing": 0},
		Empty:     []catalog.KeyRange{catalog.PrefixRange("z")},
	}, map[string][]byte{"k": []byte("3")}, nil)
	require.NoError(t, err)
	require.Equal(t, "3", f.all(t, "k")["k"])
}

func failedGuardWritesNothing(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"a": "1", "b": "1"})
	_, before, err := f.cat.Range(t.Context(), "")
	require.NoError(t, err)
	_, err = f.cat.Txn(t.Context(), catalog.Guard{Revisions: map[string]int64{"a": 0}}, map[string][]byte{"c": nil}, []string{"b"})
	require.Error(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, f.all(t, ""))
	_, after, err := f.cat.Range(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func sessionsBar(t *testing.T, f *fixture) {
	guard := catalog.Guard{Empty: catalog.SessionRanges()}
	f.put(t, map[string]string{catalog.SessionCounterKey: "17", "sessions": "not one", "sess": "nor this"})
	_, err := f.cat.Txn(t.Context(), guard, map[string][]byte{"k": []byte("1")}, nil)
	require.NoError(t, err, "the counter of node ids is no session")
	for _, session := range []string{"session/streamingnode-12", "session/mixcoord", "session/a", "session/id-3", "session/id/x"} {
		f.put(t, map[string]string{session: "{}"})
		_, err = f.cat.Txn(t.Context(), guard, map[string][]byte{"k": []byte("2")}, nil)
		c, ok := catalog.IsConflict(err)
		require.True(t, ok, "%s: %v", session, err)
		require.Equal(t, []string{session}, c.Present)
		_, err = f.cat.Txn(t.Context(), catalog.Guard{}, nil, []string{session})
		require.NoError(t, err)
	}
	require.Equal(t, "1", f.all(t, "k")["k"])
}

func revisionsMove(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "1"})
	first := f.revision(t, "k")
	if !f.ChecksumRevisions {
		f.put(t, map[string]string{"k": "1"})
		require.Greater(t, f.revision(t, "k"), first, "the same value written again is a change")
	}
	_, err := f.cat.Txn(t.Context(), catalog.Guard{}, nil, []string{"k"})
	require.NoError(t, err)
	require.Zero(t, f.revision(t, "k"))
	f.put(t, map[string]string{"k": "2"})
	require.NotEqual(t, first, f.revision(t, "k"))
}

// Two that read the same state and write: one wins, whoever it is.
func oneOfManyWins(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "start"})
	guard := catalog.Guard{Revisions: map[string]int64{"k": f.revision(t, "k")}}
	const writers = 6
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		cat := f.open(t, catalog.Options{Write: true})
		wg.Go(func() {
			_, errs[i] = cat.Txn(t.Context(), guard, map[string][]byte{"k": []byte(fmt.Sprint(i))}, nil)
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won, "two writers won")
			won = i
			continue
		}
		_, ok := catalog.IsConflict(err)
		require.True(t, ok, "%v", err)
	}
	require.NotEqual(t, -1, won)
	require.Equal(t, fmt.Sprint(won), f.all(t, "k")["k"])
}

func permissionProof(t *testing.T, f *fixture) {
	guard := catalog.Guard{Revisions: map[string]int64{"proof": catalog.NeverRevision}}
	_, err := f.cat.Txn(t.Context(), guard, map[string][]byte{"proof": nil}, nil)
	_, ok := catalog.IsConflict(err)
	require.True(t, ok, "%v", err)
	require.Empty(t, f.all(t, ""))
}

func readOnly(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "1"})
	r := f.open(t, catalog.Options{})
	kvs, _, err := r.Range(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, kvs, 1)
	_, err = r.Txn(t.Context(), catalog.Guard{}, map[string][]byte{"k": nil}, nil)
	require.ErrorIs(t, err, catalog.ErrReadOnly)
	require.Equal(t, map[string]string{"k": "1"}, f.all(t, ""))
}

func cancelled(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "1"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := f.cat.Range(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	_, err = f.cat.Txn(ctx, catalog.Guard{}, map[string][]byte{"k": []byte("2")}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, map[string]string{"k": "1"}, f.all(t, ""))
}

func tooLarge(t *testing.T, f *fixture) {
	l := f.cat.Limits()
	many := map[string][]byte{}
	for i := range l.Ops + 1 {
		many[fmt.Sprintf("k/%03d", i)] = nil
	}
	_, err := f.cat.Txn(t.Context(), catalog.Guard{}, many, nil)
	require.ErrorIs(t, err, catalog.ErrTooLarge)
	delete(many, "k/000")
	_, err = f.cat.Txn(t.Context(), catalog.Guard{}, many, nil)
	require.NoError(t, err, "exactly the limit is taken")
	_, err = f.cat.Txn(t.Context(), catalog.Guard{}, map[string][]byte{"k": make([]byte, l.Bytes)}, nil)
	require.ErrorIs(t, err, catalog.ErrTooLarge)
	require.Len(t, f.all(t, ""), l.Ops)
}

func loads(t *testing.T, f *fixture) {
	key := catalog.CheckpointKey("dml_1")
	f.put(t, map[string]string{key: "\x10\x09", catalog.CheckpointKey("dml_10"): "\xff", catalog.SegmentKey("dml_1", 4): "\xff"})
	md, _, err := f.cat.Load(t.Context(), "dml_1")
	require.NoError(t, err)
	require.Equal(t, uint64(9), md.Checkpoint.GetTimeTick())
	require.Equal(t, f.revision(t, key), md.Revisions[key])
	require.Len(t, md.Problems, 1)
	require.Equal(t, catalog.SegmentKey("dml_1", 4), md.Problems[0].Key)
}

func identity(t *testing.T, f *fixture) {
	f.put(t, map[string]string{"k": "1"})
	id, err := f.cat.Identity(t.Context())
	require.NoError(t, err)
	again, err := f.open(t, catalog.Options{}).Identity(t.Context())
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.NotEmpty(t, id.Root)
	require.NotEmpty(t, id.Kind)
	require.NoError(t, errors.Join(f.cat.Close(), f.cat.Close()), "closing twice is harmless")
}
