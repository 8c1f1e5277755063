package catalog

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
)

// A file of anything, read as each kind: an answer or an error, in bounded time.
func FuzzFiles(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.db")
	kv := map[string][]byte{CheckpointKey("dml_0"): mustMarshal(f, &streamingpb.WALCheckpoint{TimeTick: 5}), SessionCounterKey: []byte("3")}
	if err := Create(f.Context(), "file:"+path, kv, Options{}); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"streamingnode-meta/wal/dml_0/consume-checkpoint":"EAU="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"file", "kvjson", "snapshot"} {
			c, err := Open(t.Context(), kind+":"+p, Options{Timeout: time.Second})
			if err != nil {
				continue
			}
			_, _, _ = c.Load(t.Context(), "dml_0")
			_, _ = LoadCluster(t.Context(), c)
			_, _, _ = Collections(t.Context(), c)
			_ = c.Close()
		}
		// Writing to it must not hang or panic either.
		c, err := Open(t.Context(), "file:"+p, Options{Write: true, Timeout: time.Second})
		if err == nil {
			_, _ = c.Txn(t.Context(), Guard{Empty: SessionRanges()}, map[string][]byte{"k": []byte("v")}, []string{SessionCounterKey})
			_ = c.Close()
		}
	})
}

// Sessions, positions and the coordinators' keys are anybody's to write.
func FuzzCluster(f *testing.F) {
	f.Add("session/mixcoord", []byte(`{"ServerID":1}`))
	f.Add("datacoord-meta/channel-cp/dml_0_1v0", []byte{0x20, 0x05})
	f.Add("datacoord-meta/s/1/2/3", []byte{0x08, 0x03})
	f.Add("root-coord/database/collection-info/1/1", []byte{0x08, 0x01})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		c := FromMap(map[string][]byte{key: value})
		if _, err := LoadCluster(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Positions(t.Context(), c, "dml_0"); err != nil {
			t.Fatal(err)
		}
		_ = CheckValue(key, value)
	})
}

// A page that hangs below itself would be walked for ever.
func TestRingOfPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring.db")
	kv := map[string][]byte{}
	for i := range 2000 {
		kv[SegmentKey("dml_0", int64(i))] = make([]byte, 40)
	}
	if err := Create(t.Context(), "file:"+path, kv, Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size, rings := os.Getpagesize(), 0
	for at := 0; at+size <= len(b); at += size {
		if binary.LittleEndian.Uint16(b[at+8:]) == pageBranch {
			copy(b[at+pageHeader+8:at+pageHeader+16], b[at:at+8]) // its first child is itself
			rings++
		}
	}
	if rings == 0 {
		t.Fatal("the file has no branch page")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {Write: true}} {
		c, err := Open(t.Context(), "file:"+path, o)
		if err == nil {
			_, _, err = c.Range(t.Context(), "")
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "hangs in two places") {
			t.Fatalf("want a corrupt catalog, got %v", err)
		}
	}
}
