package cmd

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/archive"
)

// TestChannelsRepairOverEtcd: duplicated, missing, stale, misplaced and half-written
// registrations in a real etcd are reported, planned, refused while a node lives,
// repaired, and undone to the byte; a second repair is empty.
func TestChannelsRepairOverEtcd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dup")
	built, err := demo.Build(t.Context(), "reduplicate", dir)
	require.NoError(t, err)
	endpoint, _ := testenv.PrivateEtcd(t)
	cat, err := catalog.Open(t.Context(), "etcd://"+endpoint+"/by-dev/meta", catalog.Options{Write: true})
	require.NoError(t, err)
	defer cat.Close()
	put := func(kv map[string][]byte, deletes ...string) {
		_, err := cat.Txn(t.Context(), catalog.Guard{}, kv, deletes)
		require.NoError(t, err)
	}
	all := func() map[string][]byte {
		kv, err := catalog.Export(t.Context(), cat, "")
		require.NoError(t, err)
		maps.DeleteFunc(kv, func(k string, _ []byte) bool { return strings.HasPrefix(k, catalog.JournalPrefix) })
		return kv
	}
	put(brokenFurther(t, dir, built.PChannel))
	before := all()

	env := map[string]string{"WALCTL_ETCD": endpoint, "WALCTL_ETCD_ROOT": "by-dev/meta", "WALCTL_MILVUS_VERSION": "2.6.14"}
	spec := "etcd://" + endpoint + "/by-dev/meta"
	codes := func(want int) []string {
		code, out, errOut := run(t, env, "channels", dir, "--catalog", spec, "-o", "json")
		require.Equal(t, want, code, errOut)
		var r struct{ Faults []struct{ Code string } }
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		found := []string{}
		for _, x := range r.Faults {
			if !slices.Contains(found, x.Code) {
				found = append(found, x.Code)
			}
		}
		slices.Sort(found)
		return found
	}
	require.Equal(t, []string{"schema-orphan", "vchannel-dropped", "vchannel-misplaced", "vchannel-missing", "vchannel-no-schema", "vchannel-twice"}, codes(3))

	file := filepath.Join(t.TempDir(), "p.json")
	code, out, errOut := run(t, env, "channels", "repair", dir, "--catalog", spec, "--out", file)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "Applicable yes")
	apply := []string{"apply", file, "--yes", "--reason", "test", "--i-know-it-is-stopped"}

	put(map[string][]byte{"session/streamingnode-7": []byte(`{"ServerID":7,"ServerName":"streamingnode"}`)})
	code, _, errOut = run(t, env, apply...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "live-session")
	put(nil, "session/streamingnode-7")
	require.Equal(t, before, all(), "nothing was written so far")

	code, _, errOut = run(t, env, apply...)
	require.Equal(t, 0, code, errOut)
	require.NotEqual(t, before, all())
	require.Equal(t, []string{"vchannel-unknown"}, codes(0), "what is left in the log of the collection that is gone")

	code, out, errOut = run(t, env, "channels", "repair", dir, "--catalog", spec, "--out", filepath.Join(t.TempDir(), "second.json"))
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "The plan is empty")
	code, _, errOut = run(t, env, "recover", dir, "--catalog", spec)
	require.Equal(t, 0, code, errOut)

	code, _, errOut = run(t, env, "undo", "latest", "--yes", "--reason", "test", "--i-know-it-is-stopped")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, before, all(), "every byte is back")
}

// brokenFurther is the demo's catalog with a vchannel moved to a foreign pchannel,
// one that lost its schema, and a schema without its vchannel.
func brokenFurther(t *testing.T, dir, pchannel string) map[string][]byte {
	t.Helper()
	path, ok := archive.Catalog(dir, pchannel)
	require.True(t, ok)
	from, err := catalog.Open(t.Context(), "kvjson:"+path, catalog.Options{})
	require.NoError(t, err)
	defer from.Close()
	kv, err := catalog.Export(t.Context(), from, "")
	require.NoError(t, err)
	var healthy []string
	for _, k := range catalog.Keys(kv) {
		x := catalog.ParseKey(k)
		if _, listed := kv["root-coord/database/collection-info/1/"+collectionPart(x.VChannel)]; x.Kind == catalog.KeyVChannel && x.PChannel == pchannel && listed {
			healthy = append(healthy, x.VChannel)
		}
	}
	require.GreaterOrEqual(t, len(healthy), 3)
	misplaced, bare := healthy[1], healthy[2]
	foreign := strings.TrimRight(pchannel, "0123456789") + "8"
	for _, k := range catalog.Keys(kv) {
		x := catalog.ParseKey(k)
		switch {
		case x.PChannel == pchannel && x.VChannel == misplaced && x.Kind != catalog.KeyChannelCheckpoint:
			kv[strings.Replace(k, "/wal/"+pchannel+"/", "/wal/"+foreign+"/", 1)] = kv[k]
			delete(kv, k)
		case x.PChannel == pchannel && x.VChannel == bare && x.Kind == catalog.KeySchema:
			kv[catalog.SchemaKey(pchannel, pchannel+"_7v0", x.TimeTick)] = kv[k]
			delete(kv, k)
		}
	}
	return kv
}

// collectionPart is the collection's id as a vchannel's name spells it.
func collectionPart(vchannel string) string {
	i := strings.LastIndexByte(vchannel, '_')
	id, _, _ := strings.Cut(vchannel[i+1:], "v")
	return id
}
