package recovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// norm drops what proto3 JSON may leave out, and prints numbers as text.
func norm(x any) any {
	switch x := x.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, v := range x {
			if v = norm(v); v != nil {
				out[k] = v
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(x) == 0 {
			return nil
		}
		out := make([]any, len(x))
		for i := range x {
			out[i] = norm(x[i])
		}
		return out
	case json.Number:
		if x == "0" {
			return nil
		}
		return string(x)
	case string:
		if x == "" || x == "0" {
			return nil
		}
		return x
	case bool:
		if !x {
			return nil
		}
		return x
	}
	return x
}

func normal(t testing.TB, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var x any
	require.NoError(t, d.Decode(&x))
	return norm(x)
}

func asJSON(t testing.TB, x any) []byte {
	t.Helper()
	b, err := json.Marshal(x)
	require.NoError(t, err)
	return b
}

func until(tick uint64) source.Bound { return source.Bound{Kind: source.AtTimeTick, TimeTick: tick} }

func load(t testing.TB, pchannel string, kv map[string][]byte) catalog.Metadata {
	t.Helper()
	md, problems := catalog.Decode(pchannel, kv)
	require.Empty(t, problems)
	return md
}

// Every state Milvus reached must be reached: the proof of the whole package.
func TestReachesEveryGoldenState(t *testing.T) {
	states := 0
	for _, name := range golden.Names(t) {
		for _, e := range golden.Expectations(t, name) {
			states++
			t.Run(fmt.Sprintf("%s/%s", name, e.File), func(t *testing.T) {
				md := load(t, e.PChannel, e.KVBefore)
				r, err := recovery.Replay(context.Background(), jsonl.Open(golden.WAL(t, name)), md,
					recovery.ReplayOptions{Until: until(e.LastTimeTick)})
				require.NoError(t, err)
				require.True(t, r.Until.Reached)
				require.Equal(t, e.LastTimeTickID, r.Until.RawID)
				holds(t, e, r)
				require.True(t, r.Coverage.Contiguous(), "%v", r.Coverage.Gaps)
				for _, i := range r.State.Issues().List() {
					require.Zero(t, i.Stops&recovery.Line30, "%+v", i)
				}
			})
		}
	}
	require.Greater(t, states, 30)
}

func holds(t testing.TB, e golden.Expected, r *recovery.Result) {
	t.Helper()
	require.Equal(t, normal(t, e.Snapshot), normal(t, asJSON(t, r.State.Snapshot())), "snapshot")
	if len(e.All) > 0 {
		require.Equal(t, normal(t, e.All), normal(t, asJSON(t, r.State.All())), "all")
	}
	require.Equal(t, normal(t, e.UncommittedTxns), normal(t, asJSON(t, recovery.TxnsJSON(r.Uncommitted))), "uncommitted transactions")
	require.Equal(t, normal(t, e.AlterWAL), normal(t, asJSON(t, r.State.AlterWAL())), "alter_wal")
	if e.KVAfter == nil {
		return
	}
	after, err := r.State.Persist()
	require.NoError(t, err)
	var diff []string
	for k := range e.KVAfter {
		if !bytes.Equal(after[k], e.KVAfter[k]) {
			diff = append(diff, k)
		}
	}
	for k := range after {
		if _, ok := e.KVAfter[k]; !ok {
			diff = append(diff, "+"+k)
		}
	}
	sort.Strings(diff)
	require.Empty(t, diff, "kv_after")
}
