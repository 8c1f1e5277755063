package repair_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// incident is a log and the catalog a node left in the middle of it.
type incident struct {
	pchannel string
	ms       []*message.Message
	kv       map[string][]byte
}

func newIncident(t *testing.T, seed uint64) *incident {
	t.Helper()
	g := walgen.New(walgen.Config{Seed: seed, Messages: 1500, Terms: 2, LedgerEntries: 300})
	x := &incident{pchannel: g.PChannel(), ms: g.Messages()}
	end := len(x.ms) / 2
	for x.ms[end].Type != message.TypeTimeTick || x.ms[end].OpensTerm() {
		end--
	}
	md, _ := catalog.Decode(x.pchannel, g.CatalogBefore())
	r, err := recovery.Replay(t.Context(), walgen.SliceSource(x.pchannel, x.ms), md,
		recovery.ReplayOptions{Until: source.Bound{Kind: source.AtTimeTick, TimeTick: x.ms[end].TimeTick}})
	require.NoError(t, err)
	kv, err := r.State.Persist()
	require.NoError(t, err)
	// RootCoord as it is at the end: what the log drops is gone there too.
	x.kv = g.ClusterKeys(x.ms[len(x.ms)-1])
	maps.DeleteFunc(x.kv, func(k string, _ []byte) bool { return strings.HasPrefix(k, catalog.WALPrefix(x.pchannel)) })
	maps.Copy(x.kv, kv)
	return x
}

// live is a vchannel of the catalog that the log does not drop.
func (x *incident) live(t *testing.T) string {
	t.Helper()
	dropped := map[string]bool{}
	for _, m := range x.ms {
		dropped[m.VChannel] = dropped[m.VChannel] || m.Type == message.TypeDropCollection
	}
	for _, k := range catalog.Keys(x.kv) {
		if p := catalog.ParseKey(k); p.Kind == catalog.KeyVChannel && p.PChannel == x.pchannel && !dropped[p.VChannel] {
			return p.VChannel
		}
	}
	t.Fatal("the log drops every vchannel: take another seed")
	return ""
}

// replay is what recover sees of a catalog.
func (x *incident) replay(t *testing.T, kv map[string][]byte) *repair.Restart {
	t.Helper()
	path := "kvjson:" + filepath.Join(t.TempDir(), "kv.json")
	require.NoError(t, catalog.Create(t.Context(), path, kv, catalog.Options{}))
	cat, err := catalog.Open(t.Context(), path, catalog.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = cat.Close() })
	r := &repair.Restart{Source: walgen.SliceSource(x.pchannel, x.ms), Catalog: cat, Line: recovery.Line26}
	r.Metadata, _, err = cat.Load(t.Context(), x.pchannel)
	require.NoError(t, err)
	r.Options.Collections, _, err = catalog.Collections(t.Context(), cat)
	require.NoError(t, err)
	r.Options.Flushed, err = catalog.ChannelCheckpoints(t.Context(), cat, x.pchannel)
	require.NoError(t, err)
	r.Options.Tail, r.Options.State.Milvus = true, "2.6.14"
	r.Result, err = recovery.Replay(t.Context(), r.Source, r.Metadata, r.Options)
	require.NoError(t, err)
	return r
}

func (x *incident) plan(ctx context.Context, t *testing.T, r *repair.Restart) *plan.Plan {
	t.Helper()
	in := &plan.Input{PChannel: x.pchannel, Before: maps.Clone(r.Metadata.KV), Revisions: maps.Clone(r.Metadata.Revisions), Created: time.Unix(1, 0).UTC(),
		Log: source.Bounds{First: x.ms[0].ID, Last: x.ms[len(x.ms)-1].ID}, Limits: r.Catalog.Limits()}
	var err error
	in.Positions, _, err = catalog.Positions(ctx, r.Catalog, x.pchannel)
	require.NoError(t, err)
	p, err := r.Plan(ctx, in)
	require.NoError(t, err)
	return p
}

// Whatever of these a catalog lacks: what stands in the way is called by its code,
// and the plan is applicable and leaves nothing that recover would call an obstacle
// once it is applied.
func TestApplicablePlansLeaveNoObstacle(t *testing.T) {
	remove := func(kv map[string][]byte, prefix string) {
		maps.DeleteFunc(kv, func(k string, _ []byte) bool { return strings.HasPrefix(k, prefix) })
	}
	for name, c := range map[string]struct {
		spoil func(x *incident, v string)
		code  string // of the first obstacle, "" = none
	}{
		"nothing": {func(*incident, string) {}, ""},
		"a schema is lost": {func(x *incident, v string) { remove(x.kv, catalog.VChannelKey(x.pchannel, v)+"/schema/") },
			"vchannel-no-schema"},
		"a vchannel is lost": {func(x *incident, v string) {
			remove(x.kv, catalog.VChannelKey(x.pchannel, v)+"/")
			delete(x.kv, catalog.VChannelKey(x.pchannel, v))
		}, "vchannel-missing"},
		"a segment can't be read": {func(x *incident, _ string) { x.kv[catalog.SegmentKey(x.pchannel, 424242)] = []byte{0xff, 0xff} }, "value-undecodable"},
		"the WAL's keys are lost": {func(x *incident, _ string) { remove(x.kv, catalog.WALPrefix(x.pchannel)) }, ""},
	} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				x := newIncident(t, seed+1)
				c.spoil(x, x.live(t))
				before := x.replay(t, x.kv)
				found := repair.Obstacles(before.Result, recovery.Line26)
				if c.code == "" {
					require.Empty(t, found)
				} else {
					require.NotEmpty(t, found)
					require.Equal(t, c.code, found[0].Code)
				}
				p := x.plan(t.Context(), t, before)
				require.True(t, p.Applicable, "%v", p.NotApplicable)
				after := maps.Clone(x.kv)
				for _, change := range p.Changes {
					if delete(after, change.Key); change.New != nil {
						after[change.Key] = change.New
					}
				}
				require.Empty(t, repair.Obstacles(x.replay(t, after).Result, recovery.Line26))
			})
		}
	}
}
