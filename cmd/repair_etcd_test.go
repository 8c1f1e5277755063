package cmd

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// tester is a checker over a test.
type tester struct{ *testing.T }

func (c tester) Check(err error) { c.Helper(); require.NoError(c.T, err) }

// etcdWith is a real etcd that holds an incident's catalog, and the log beside it.
type etcdWith struct {
	endpoint, wal, spec string
	client              *clientv3.Client
}

func newEtcdWith(t *testing.T, x *incidentLog) *etcdWith {
	t.Helper()
	e := &etcdWith{wal: filepath.Join(t.TempDir(), "wal.jsonl")}
	e.endpoint, _ = testenv.PrivateEtcd(t)
	e.spec = "etcd://" + e.endpoint + "/by-dev/meta"
	x.write(tester{t}, e.wal)
	var err error
	e.client, err = clientv3.New(clientv3.Config{Endpoints: []string{e.endpoint}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.client.Close() })
	for k, v := range x.mid {
		_, err := e.client.Put(t.Context(), "by-dev/meta/"+k, string(v))
		require.NoError(t, err)
	}
	return e
}

// keys is everything below the root but walctl's own journal.
func (e *etcdWith) keys(t *testing.T) map[string]string {
	t.Helper()
	r, err := e.client.Get(t.Context(), "by-dev/meta/", clientv3.WithPrefix())
	require.NoError(t, err)
	out := map[string]string{}
	for _, kv := range r.Kvs {
		if k := strings.TrimPrefix(string(kv.Key), "by-dev/meta/"); !strings.HasPrefix(k, catalog.JournalPrefix) {
			out[k] = string(kv.Value)
		}
	}
	return out
}

// The kinds of repair on a real etcd: planned, applied in guarded transactions,
// clean, and taken back byte for byte.
func TestKindsOfRepairOnEtcd(t *testing.T) {
	for _, x := range []struct {
		name, incident string
		plan           []string
		whole          bool // the result is what a node left that read the whole log
	}{
		{"rebuild", "lost", []string{"--only", "rebuild"}, true},
		{"move positions", "trimmed", []string{"--accept-gap", "1001/0..1012/0"}, false},
		{"register", "unregistered", nil, false},
		{"remove orphans", "half-written", []string{"--only", "remove-orphans"}, true},
		{"finish a switch", "alter-advance", []string{"--alter-wal", "finish"}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			i := newIncident(tester{t}, x.incident, false)
			e := newEtcdWith(t, i)
			before := e.keys(t)
			file := filepath.Join(t.TempDir(), "p.json")
			args := append([]string{"recover", e.wal, "--catalog", e.spec, "--milvus-version", "2.6.14", "--out", file}, x.plan...)
			code, out, errOut := run(t, nil, args...)
			require.Contains(t, []int{0, 3}, code, errOut)
			require.Contains(t, out, "Applicable yes", out)
			require.Equal(t, before, e.keys(t), "recover wrote")

			// The log is a copy: that nobody writes to the topic has to be vouched for.
			code, _, errOut = run(t, nil, "apply", file, "--yes", "--reason", "test")
			require.Equal(t, 5, code, errOut)
			require.Contains(t, errOut, "cannot-be-listed")
			code, _, errOut = run(t, nil, "apply", file, "--yes", "--reason", "test", "--i-know-it-is-stopped")
			require.Equal(t, 0, code, errOut)
			if x.whole {
				for k, v := range i.end {
					require.Equal(t, string(v), e.keys(t)[k], k)
				}
			}
			if x.incident != "alter-advance" { // then the checkpoint is of the other WAL
				code, out, errOut = run(t, nil, "recover", e.wal, "--catalog", e.spec)
				require.Equal(t, 0, code, out+errOut)
			}
			code, _, errOut = run(t, nil, "undo", "latest", "--catalog", e.spec, "--yes", "--reason", "test", "--i-know-it-is-stopped")
			require.Equal(t, 0, code, errOut)
			require.Equal(t, before, e.keys(t))
		})
	}
}

// Sessions that may not be listed count as alive; vouching goes as far as that,
// and not as far as a process that is seen.
func TestSessionsThatMayNotBeListed(t *testing.T) {
	i := newIncident(tester{t}, "none", false)
	e := newEtcdWith(t, i)
	ctx := t.Context()
	grant := func(role, from, end string, p clientv3.PermissionType) {
		_, err := e.client.RoleGrantPermission(ctx, role, from, end, p)
		require.NoError(t, err)
	}
	for _, r := range []string{"root", "repair"} {
		_, err := e.client.RoleAdd(ctx, r)
		require.NoError(t, err)
		_, err = e.client.UserAdd(ctx, r, "secret")
		require.NoError(t, err)
		_, err = e.client.UserGrantRole(ctx, r, r)
		require.NoError(t, err)
	}
	for _, p := range []string{"streamingnode-meta/", "streamingcoord-meta/", "datacoord-meta/", "root-coord/", "walctl/"} {
		grant("repair", "by-dev/meta/"+p, clientv3.GetPrefixRangeEnd("by-dev/meta/"+p), clientv3.PermissionType(clientv3.PermReadWrite))
	}
	_, err := e.client.AuthEnable(ctx)
	require.NoError(t, err)
	as := func(user string) map[string]string {
		return map[string]string{"WALCTL_ETCD": e.endpoint, "WALCTL_ETCD_ROOT": "by-dev/meta", "WALCTL_ETCD_USER": user, "WALCTL_ETCD_PASSWORD": "secret",
			"WALCTL_ETCD_WRITE_USER": user, "WALCTL_ETCD_WRITE_PASSWORD": "secret", "WALCTL_MILVUS_VERSION": "2.6.14"}
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{e.endpoint}, Username: "root", Password: "secret", Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	e.client = root
	before := e.keys(t)

	file := filepath.Join(t.TempDir(), "p.json")
	code, out, errOut := run(t, as("repair"), "recover", e.wal, "--out", file)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "Applicable yes")
	code, _, errOut = run(t, as("repair"), "apply", file, "--yes", "--reason", "test")
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "cannot-be-listed: sessions")
	require.Equal(t, before, e.keys(t))
	code, _, errOut = run(t, as("repair"), "apply", file, "--yes", "--i-know-it-is-stopped")
	require.Equal(t, 2, code, errOut, "vouching takes a reason")

	_, err = root.Put(ctx, "by-dev/meta/session/streamingnode-9", `{"ServerID":9,"ServerName":"streamingnode"}`)
	require.NoError(t, err)
	live := maps.Clone(before)
	live["session/streamingnode-9"] = `{"ServerID":9,"ServerName":"streamingnode"}`
	code, _, errOut = run(t, as("root"), "apply", file, "--yes", "--reason", "test", "--i-know-it-is-stopped")
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "live-session: streamingnode-9")
	require.NotContains(t, errOut, "cannot-be-listed")
	require.Equal(t, live, e.keys(t))
	_, err = root.Delete(ctx, "by-dev/meta/session/streamingnode-9")
	require.NoError(t, err)

	code, _, errOut = run(t, as("repair"), "apply", file, "--yes", "--reason", "test", "--i-know-it-is-stopped")
	require.Equal(t, 0, code, errOut)
	require.NotEqual(t, before, e.keys(t))
	code, _, errOut = run(t, as("repair"), "undo", "latest", "--yes", "--reason", "test", "--i-know-it-is-stopped")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, before, e.keys(t))

	// A plan of another cluster, at the address of this one.
	other := newEtcdWith(t, i)
	code, _, errOut = run(t, nil, "apply", file, "--catalog", other.spec, "--yes", "--reason", "test", "--i-know-it-is-stopped", "--milvus-version", "2.6.14")
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "other-cluster")
}
