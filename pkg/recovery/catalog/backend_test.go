package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/catalog/catalogtest"
)

func open(t *testing.T, spec string, opts catalog.Options) catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), spec, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestFile(t *testing.T) {
	catalogtest.Run(t, catalogtest.Backend{New: func(t *testing.T) func(*testing.T, catalog.Options) catalog.Catalog {
		spec := "file:" + filepath.Join(t.TempDir(), "catalog.db")
		return func(t *testing.T, o catalog.Options) catalog.Catalog { return open(t, spec, o) }
	}})
}

func TestKVJSON(t *testing.T) {
	catalogtest.Run(t, catalogtest.Backend{ChecksumRevisions: true, New: func(t *testing.T) func(*testing.T, catalog.Options) catalog.Catalog {
		path := filepath.Join(t.TempDir(), "catalog.json")
		t.Cleanup(func() {
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
			require.Subset(t, []string{path}, left, "locks and half-written files are gone")
		})
		return func(t *testing.T, o catalog.Options) catalog.Catalog { return open(t, "kvjson:"+path, o) }
	}})
}

func TestEtcd(t *testing.T) {
	_, endpoints := testenv.Etcd(t)
	n := 0
	catalogtest.Run(t, catalogtest.Backend{New: func(*testing.T) func(*testing.T, catalog.Options) catalog.Catalog {
		n++
		spec := fmt.Sprintf("etcd://%s/%s-%d/meta", strings.Join(endpoints, ","), filepath.Base(t.TempDir()), n)
		return func(t *testing.T, o catalog.Options) catalog.Catalog { return open(t, spec, o) }
	}})
}

// A snapshot says what the etcd it was taken of said: overwritten, deleted and
// recreated keys, revisions, leases.
func TestSnapshot(t *testing.T) {
	endpoint, _ := testenv.PrivateEtcd(t)
	live := open(t, "etcd://"+endpoint+"/by-dev/meta", catalog.Options{Write: true})
	txn := func(puts map[string][]byte, deletes ...string) {
		_, err := live.Txn(t.Context(), catalog.Guard{}, puts, deletes)
		require.NoError(t, err)
	}
	txn(map[string][]byte{catalog.CheckpointKey("dml_0"): {0x10, 1}, "gone": []byte("1"), "back": []byte("1"), "empty": nil})
	txn(map[string][]byte{catalog.CheckpointKey("dml_0"): {0x10, 9}}, "gone", "back")
	txn(map[string][]byte{"back": []byte("2")})
	path := filepath.Join(t.TempDir(), "snap.db")
	saveSnapshot(t, endpoint, path)

	snap := open(t, "snapshot:"+path, catalog.Options{})
	want, wantRev, err := live.Range(t.Context(), "")
	require.NoError(t, err)
	got, rev, err := snap.Range(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, wantRev, rev)
	require.Len(t, got, 3)
	for i := range want {
		require.Equal(t, want[i].Key, got[i].Key)
		require.True(t, bytes.Equal(want[i].Value, got[i].Value))
		require.Equal(t, [2]int64{want[i].CreateRevision, want[i].ModRevision}, [2]int64{got[i].CreateRevision, got[i].ModRevision})
	}
	md, _, err := snap.Load(t.Context(), "dml_0")
	require.NoError(t, err)
	require.Equal(t, uint64(9), md.Checkpoint.GetTimeTick())
	id, err := snap.Identity(t.Context())
	require.NoError(t, err)
	require.Equal(t, "by-dev/meta", id.Root, "the root is found in the keys")
	_, err = snap.Txn(t.Context(), catalog.Guard{}, nil, nil)
	require.ErrorIs(t, err, catalog.ErrReadOnly)
	_, err = catalog.Open(t.Context(), "snapshot:"+path, catalog.Options{Write: true})
	require.ErrorIs(t, err, catalog.ErrReadOnly)

	// Without the sum behind it, as a member's own db file: read all the same.
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	bare := filepath.Join(t.TempDir(), "db")
	require.NoError(t, os.WriteFile(bare, b[:len(b)/512*512], 0o600))
	_, _, err = open(t, "snapshot:"+bare, catalog.Options{}).Range(t.Context(), "")
	require.NoError(t, err)
	// With the sum, one flipped bit is found.
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(bare, b, 0o600))
	_, err = catalog.Open(t.Context(), "snapshot:"+bare, catalog.Options{})
	require.ErrorIs(t, err, catalog.ErrCorrupt)
}

func saveSnapshot(t *testing.T, endpoint, path string) {
	t.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	require.NoError(t, err)
	defer cli.Close()
	r, err := cli.Snapshot(t.Context())
	require.NoError(t, err)
	defer r.Close()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = io.Copy(f, r)
	require.NoError(t, err)
}

// A reader that may not write is told so before anything is written, and the
// password stands in no error.
func TestEtcdPermissions(t *testing.T) {
	endpoint, _ := testenv.PrivateEtcd(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	require.NoError(t, err)
	defer cli.Close()
	ctx := t.Context()
	_, err = cli.RoleAdd(ctx, "looks")
	require.NoError(t, err)
	_, err = cli.RoleGrantPermission(ctx, "looks", "r/", "r0", clientv3.PermissionType(clientv3.PermRead))
	require.NoError(t, err)
	for user, role := range map[string]string{"root": "root", "reader": "looks"} {
		_, err = cli.UserAdd(ctx, user, "hunter2")
		require.NoError(t, err)
		if role == "root" {
			_, err = cli.RoleAdd(ctx, role)
			require.NoError(t, err)
		}
		_, err = cli.UserGrantRole(ctx, user, role)
		require.NoError(t, err)
	}
	_, err = cli.AuthEnable(ctx)
	require.NoError(t, err)

	reader := open(t, "etcd://"+endpoint+"/r", catalog.Options{Write: true, Username: "reader", Password: "hunter2"})
	_, _, err = reader.Range(ctx, "")
	require.NoError(t, err)
	_, err = reader.Txn(ctx, catalog.Guard{Revisions: map[string]int64{"p": catalog.NeverRevision}}, map[string][]byte{"p": nil}, nil)
	require.ErrorIs(t, err, catalog.ErrDenied, "the proof of permission fails before anything is written")

	for _, o := range []catalog.Options{{}, {Username: "reader", Password: "wrong-hunter3"}} {
		_, err = catalog.Open(ctx, "etcd://"+endpoint+"/r", o)
		require.ErrorIs(t, err, catalog.ErrDenied)
		require.NotContains(t, err.Error(), "hunter3")
	}
}

// An etcd that is not there answers within the timeout, and says so.
func TestEtcdUnreachable(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := catalog.Open(ctx, "etcd://127.0.0.1:1/r", catalog.Options{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = catalog.Open(t.Context(), "etcd://127.0.0.1:1/r", catalog.Options{Timeout: 50_000_000})
	require.ErrorIs(t, err, catalog.ErrUnavailable)
}

// More keys than one request brings are still read at one revision.
func TestEtcdPages(t *testing.T) {
	_, endpoints := testenv.Etcd(t)
	c := open(t, fmt.Sprintf("etcd://%s/%s", endpoints[0], filepath.Base(t.TempDir())), catalog.Options{Write: true})
	const n = 4100
	for i := 0; i < n; i += 100 {
		puts := map[string][]byte{}
		for j := range 100 {
			puts[fmt.Sprintf("k/%05d", i+j)] = []byte{byte(j)}
		}
		_, err := c.Txn(t.Context(), catalog.Guard{}, puts, nil)
		require.NoError(t, err)
	}
	kvs, rev, err := c.Range(t.Context(), "k/")
	require.NoError(t, err)
	require.Len(t, kvs, n)
	require.Equal(t, rev, catalog.Revision(kvs[n-1].ModRevision))
}

// A golden catalog goes through every place and comes back byte for byte.
func TestGoldenThroughBackends(t *testing.T) {
	_, endpoints := testenv.Etcd(t)
	for _, e := range golden.Expectations(t, "small") {
		if e.KVAfter == nil {
			continue
		}
		for _, spec := range []string{
			"file:" + filepath.Join(t.TempDir(), "c.db"),
			"kvjson:" + filepath.Join(t.TempDir(), "c.json"),
			"etcd://" + endpoints[0] + "/" + filepath.Base(t.TempDir()) + e.File,
		} {
			c := open(t, spec, catalog.Options{Write: true})
			_, err := c.Txn(t.Context(), catalog.Guard{}, e.KVAfter, nil)
			require.NoError(t, err)
			md, _, err := c.Load(t.Context(), e.PChannel)
			require.NoError(t, err)
			require.Empty(t, md.Problems)
			got, err := catalog.Encode(md)
			require.NoError(t, err)
			require.Equal(t, e.KVAfter, got, spec)
		}
	}
}

// A new catalog is written whole; one that exists is never written over.
func TestCreate(t *testing.T) {
	for _, kind := range []string{"file", "kvjson"} {
		path := filepath.Join(t.TempDir(), "new")
		want := map[string][]byte{"a": []byte("1"), "b": {}}
		require.NoError(t, catalog.Create(t.Context(), kind+":"+path, want, catalog.Options{}))
		got, err := catalog.Export(t.Context(), open(t, kind+":"+path, catalog.Options{}), "")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.ErrorIs(t, catalog.Create(t.Context(), kind+":"+path, nil, catalog.Options{}), catalog.ErrExists)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		left, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, left, 1)
	}
	require.ErrorIs(t, catalog.Create(t.Context(), "etcd://h:1/r", nil, catalog.Options{}), catalog.ErrReadOnly)
}

// Files that are no catalog, or a broken one: an error that says which, never a panic.
func TestBrokenFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "good.db")
	good := open(t, "file:"+path, catalog.Options{Write: true})
	for i := range 40 {
		puts := map[string][]byte{}
		for j := range 100 {
			puts[fmt.Sprintf("k/%d/%d", i, j)] = []byte("some value that takes a few bytes")
		}
		_, err := good.Txn(t.Context(), catalog.Guard{}, puts, nil)
		require.NoError(t, err)
	}
	db, err := os.ReadFile(path)
	require.NoError(t, err)
	read := func(kind string, b []byte) error {
		p := filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.WriteFile(p, b, 0o600))
		c, err := catalog.Open(t.Context(), kind+":"+p, catalog.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		_, _, err = c.Range(t.Context(), "")
		return err
	}
	for _, kind := range []string{"file", "snapshot", "kvjson"} {
		for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello, this is no database at all"), "zeros": make([]byte, 1<<16), "half": db[:len(db)/2]} {
			require.ErrorIs(t, read(kind, b), catalog.ErrCorrupt, "%s %s", kind, name)
		}
	}
	require.ErrorIs(t, read("snapshot", db), catalog.ErrCorrupt, "a catalog is no snapshot")
	for _, s := range []string{"null", "[]", `{"a":1}`, `{"a":"not base64!"}`, `{"a":"YQ=="`} {
		require.ErrorIs(t, read("kvjson", []byte(s)), catalog.ErrCorrupt, s)
	}
	// Every flipped byte of the structure is survived; what is read is not judged.
	failed := 0
	for i := 0; i < len(db); i += 1 + i/16 { // closer together where the structure lies
		b := bytes.Clone(db)
		b[i] ^= 0xff
		if read("file", b) != nil {
			failed++
		}
	}
	require.Positive(t, failed)
	for _, spec := range []string{"file:/nowhere/x", "kvjson:/nowhere/x", "snapshot:/nowhere/x"} {
		_, err := catalog.Open(t.Context(), spec, catalog.Options{})
		require.ErrorIs(t, err, catalog.ErrNotFound, spec)
	}
}

func TestParseSpec(t *testing.T) {
	for in, want := range map[string]catalog.Spec{
		"etcd://h:1/by-dev/meta": {Kind: "etcd", Endpoints: []string{"http://h:1"}, Root: "by-dev/meta"},
		"etcds://a:1,b:2":        {Kind: "etcd", Endpoints: []string{"https://a:1", "https://b:2"}},
		"file:x":                 {Kind: "file", Path: "x"},
		"kvjson:/a:b":            {Kind: "kvjson", Path: "/a:b"},
	} {
		got, err := catalog.ParseSpec(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "x", "file:", "etcd:h", "etcd://", "etcd:///r", "mysql:x", "etcd://user:hunter2@h:1/r", "bad:hunter2@h"} {
		_, err := catalog.ParseSpec(in)
		require.Error(t, err, in)
		require.NotContains(t, err.Error(), "hunter2", in)
	}
}
