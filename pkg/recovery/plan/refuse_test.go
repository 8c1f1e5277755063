package plan

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

func TestRefusals(t *testing.T) {
	before, after := scenario(t, 8)
	type scene struct {
		c catalog.Catalog
		p *Plan
		g Gate
		o Options
	}
	for name, s := range map[string]struct {
		code    string
		arrange func(t *testing.T, s *scene)
	}{
		"session": {CodeLiveSession, func(t *testing.T, s *scene) { seed(t, s.c, map[string][]byte{"session/mixcoord": []byte("{}")}) }},
		"session, though vouched for": {CodeLiveSession, func(t *testing.T, s *scene) {
			s.o.IKnowItIsStopped = true
			seed(t, s.c, map[string][]byte{"session/querynode-3": []byte("?")})
		}},
		"producer": {CodeLiveProducer, func(_ *testing.T, s *scene) { s.g = gate{state: LogState{Log: testLog, Producers: []string{"p-0"}}} }},
		"cannot be listed": {CodeUnlisted, func(_ *testing.T, s *scene) {
			s.g = gate{state: LogState{Log: testLog, Unlisted: []string{"producers"}}}
		}},
		"broker is away": {CodeUnlisted, func(_ *testing.T, s *scene) { s.g = gate{err: errors.New("refused")} }},
		"no log given":   {CodeUnlisted, func(_ *testing.T, s *scene) { s.g = nil }},
		"log has grown": {CodeLogMoved, func(_ *testing.T, s *scene) {
			l := testLog
			l.LastID = "15/1517/0"
			s.g = gate{state: LogState{Log: l}}
		}},
		"another log": {CodeOtherLog, func(_ *testing.T, s *scene) {
			l := testLog
			l.Ledgers = []string{"99"}
			s.g = gate{state: LogState{Log: l}}
		}},
		"another cluster": {CodeOtherCluster, func(t *testing.T, s *scene) {
			s.p = build(t, s.c, after, func(in *Input) { in.Binding.ClusterID = "beef" })
		}},
		"another root": {CodeOtherCluster, func(t *testing.T, s *scene) {
			s.p = build(t, s.c, after, func(in *Input) { in.Binding.Root = "by-prod/meta" })
		}},
		"a key changed": {CodeChanged, func(t *testing.T, s *scene) { seed(t, s.c, map[string][]byte{s.p.Changes[3].Key: []byte("\x10\x01")}) }},
		"a key was added": {CodeChanged, func(t *testing.T, s *scene) {
			seed(t, s.c, map[string][]byte{catalog.SegmentKey(pchannel, 424242): nil})
		}},
		"tampered": {CodeTampered, func(_ *testing.T, s *scene) {
			p := *s.p
			p.Changes = slices.Clone(p.Changes)
			p.Changes[0].New = []byte("\x10\x01")
			s.p = &p
		}},
		"made applicable by hand": {CodeTampered, func(t *testing.T, s *scene) {
			s.p = build(t, s.c, after, func(in *Input) { in.Coverage.Filter = "--type Insert" })
			s.p.Applicable, s.p.NotApplicable = true, nil
		}},
		"gap": {CodeNotApplicable, func(t *testing.T, s *scene) {
			s.p = build(t, s.c, after, func(in *Input) { in.Coverage.Gaps = []Gap{{From: "15/1/0", To: "16/2/0", Cause: "trimmed"}} })
		}},
		"no version":    {CodeNoMilvusVersion, func(t *testing.T, s *scene) { s.p = build(t, s.c, after, func(in *Input) { in.Binding.Milvus = "" }) }},
		"other schema":  {CodePlanSchema, func(_ *testing.T, s *scene) { p := *s.p; p.Schema = "walctl/plan/v9"; s.p = &p }},
		"half done":     {CodeHalfDone, func(t *testing.T, s *scene) { seed(t, s.c, map[string][]byte{activeKey: []byte("another")}) }},
		"may not write": {CodeNoPermission, func(t *testing.T, s *scene) { s.c = readOnly{s.c} }},
	} {
		check := func(t *testing.T, more func(*scene, catalog.Catalog)) {
			c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
			seed(t, c, before)
			sc := &scene{c: c, p: build(t, c, after, nil), g: quiet, o: yes()}
			s.arrange(t, sc)
			more(sc, c)
			was, err := catalog.Export(t.Context(), c, "")
			require.NoError(t, err)
			_, err = Apply(t.Context(), sc.p, sc.c, sc.g, sc.o)
			r := requireRefused(t, err, s.code)
			require.Zero(t, r.Written)
			is, err := catalog.Export(t.Context(), c, "")
			require.NoError(t, err)
			require.Equal(t, was, is, "nothing was written")
		}
		t.Run(name, func(t *testing.T) { check(t, func(*scene, catalog.Catalog) {}) })
		if s.code == CodeUnlisted {
			continue
		}
		// Vouching for what cannot be listed takes nothing from what was seen.
		t.Run(name+", vouched for", func(t *testing.T) {
			check(t, func(sc *scene, _ catalog.Catalog) {
				sc.o.IKnowItIsStopped = true
				g := sc.g.(gate)
				g.state.Unlisted = []string{"producers"}
				sc.g = g
			})
		})
		// A guard says what it sees, whatever the others saw.
		t.Run(name+", among others", func(t *testing.T) {
			check(t, func(sc *scene, c catalog.Catalog) {
				seed(t, c, map[string][]byte{"session/querynode-9": []byte("{}")})
				g := sc.g.(gate)
				g.state.Producers = []string{"p-9"}
				sc.g = g
			})
		})
	}
}

// Undo, too, hears every guard, and vouching drops none that saw something.
func TestUndoSaysAllItSees(t *testing.T) {
	before, after := scenario(t, 8)
	for name, o := range map[string]Options{"plain": yes(), "vouched for": vouching()} {
		t.Run(name, func(t *testing.T) {
			c := place{"kvjson", "kvjson:" + filepath.Join(t.TempDir(), "c.json")}.open(t)
			seed(t, c, before)
			p := build(t, c, after, nil)
			_, err := Apply(t.Context(), p, c, quiet, yes())
			require.NoError(t, err)
			seed(t, c, map[string][]byte{catalog.SegmentKey(pchannel, 424242): nil})
			_, err = Undo(t.Context(), p.ID, c, gate{state: LogState{Log: testLog, Unlisted: []string{"producers"}, Producers: []string{"p-9"}}}, o)
			requireRefused(t, err, CodeMilvusRan)
			requireRefused(t, err, CodeLiveProducer)
			require.Contains(t, content(t, c), catalog.SegmentKey(pchannel, 424242))
		})
	}
}

func vouching() Options {
	o := yes()
	o.IKnowItIsStopped = true
	return o
}

type readOnly struct{ catalog.Catalog }

func (readOnly) Txn(context.Context, catalog.Guard, map[string][]byte, []string) (catalog.Revision, error) {
	return 0, catalog.ErrDenied
}

// What cannot be listed may be vouched for, with a reason; nothing else may.
func TestVouched(t *testing.T) {
	before, after := scenario(t, 8)
	c := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
	seed(t, c, before)
	p := build(t, c, after, nil)
	for _, o := range []Options{{}, {Yes: true}, {Reason: "x"}, {Yes: true, Reason: "  "}} {
		_, err := Apply(t.Context(), p, c, quiet, o)
		require.ErrorIs(t, err, ErrNotConfirmed)
	}
	o := yes()
	o.IKnowItIsStopped = true
	_, err := Apply(t.Context(), p, c, gate{err: errors.New("broker away")}, o)
	require.NoError(t, err)
	js, err := Journals(t.Context(), c)
	require.NoError(t, err)
	require.True(t, js[0].Overridden, "the journal says that somebody vouched")
}

// Undo leaves alone what was built on.
func TestUndoRefusesOnceMilvusRan(t *testing.T) {
	places(t, func(t *testing.T, fresh func(*testing.T) place) {
		before, after := scenario(t, 60)
		for name, ran := range map[string]func(t *testing.T, c catalog.Catalog){
			"checkpoint moved": func(t *testing.T, c catalog.Catalog) {
				kv := map[string][]byte{}
				checkpoint(t, kv, 300)
				seed(t, c, kv)
			},
			"segment added": func(t *testing.T, c catalog.Catalog) {
				kv := map[string][]byte{}
				segment(t, kv, 424242, 1)
				seed(t, c, kv)
			},
			"untouched key removed": func(t *testing.T, c catalog.Catalog) {
				_, err := c.Txn(t.Context(), catalog.Guard{}, nil, []string{catalog.SchemaKey(pchannel, pchannel+"_0v0", 7)})
				require.NoError(t, err)
			},
		} {
			t.Run(name, func(t *testing.T) {
				c := fresh(t).open(t)
				seed(t, c, before)
				_, err := Apply(t.Context(), build(t, c, after, nil), c, quiet, yes())
				require.NoError(t, err)
				ran(t, c)
				was := content(t, c)
				_, err = Undo(t.Context(), Latest, c, quiet, yes())
				requireRefused(t, err, CodeMilvusRan)
				require.Equal(t, was, content(t, c))
			})
		}
	})
}

// A journal is where anybody with access to the catalog can write.
func TestBrokenJournals(t *testing.T) {
	before, after := scenario(t, 60)
	for name, c := range map[string]struct {
		key  func(id string) string
		from string
		to   string
	}{
		"no JSON":            {headerKey, `{"schema"`, `{schema`},
		"other schema":       {headerKey, `walctl/journal/v1`, `walctl/journal/v7`},
		"another's id":       {headerKey, `"id":"2`, `"id":"3`},
		"more done":          {headerKey, `"done":2`, `"done":99`},
		"negative":           {headerKey, `"done":2`, `"done":-1`},
		"cuts that run over": {headerKey, `"cuts":[`, `"cuts":[9223372036854775807,`},
		"zero cut":           {headerKey, `"cuts":[`, `"cuts":[0,`},
		"record torn":        {func(id string) string { return recordKey(id, 1) }, `"entries"`, `"entries":[],"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			cat := place{"file", "file:" + filepath.Join(t.TempDir(), "c.db")}.open(t)
			seed(t, cat, before)
			p := build(t, cat, after, nil)
			_, err := Apply(t.Context(), p, &dying{Catalog: cat, at: 3}, quiet, yes())
			require.ErrorIs(t, err, errKilled)
			kv, err := get(t.Context(), cat, c.key(p.ID))
			require.NoError(t, err)
			require.Contains(t, string(kv.Value), c.from)
			seed(t, cat, map[string][]byte{kv.Key: []byte(strings.Replace(string(kv.Value), c.from, c.to, 1))})
			was := content(t, cat)
			_, err = Undo(t.Context(), p.ID, cat, quiet, yes())
			require.ErrorIs(t, err, ErrCorrupt)
			if c.key(p.ID) == headerKey(p.ID) {
				_, err = Apply(t.Context(), p, cat, quiet, yes())
				require.ErrorIs(t, err, ErrCorrupt)
			}
			require.Equal(t, was, content(t, cat))
		})
	}
}
