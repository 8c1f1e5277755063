// Package golden finds the logs whose recovered state Milvus's own code made,
// for tests. They lie beside the project, not in it: where they are missing a
// test skips, saying so.
package golden

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Expected is one expected*.json: the state Milvus reached at one opening.
type Expected struct {
	File                      string            `json:"-"`
	PChannel                  string            `json:"pchannel"`
	Term                      int64             `json:"term"`
	IDKind                    string            `json:"id_kind"`
	KVBefore                  map[string][]byte `json:"kv_before"` // key relative to the metadata root
	CheckpointBefore          json.RawMessage   `json:"checkpoint_before"`
	LastTimeTickID            string            `json:"last_time_tick_id"`
	LastTimeTick              uint64            `json:"last_time_tick"`
	LastTimeTickLastConfirmed string            `json:"last_time_tick_last_confirmed"`
	Snapshot, All             json.RawMessage   `json:",omitempty"` // proto3 JSON, proto field names
	UncommittedTxns           json.RawMessage   `json:"uncommitted_txns"`
	AlterWAL                  json.RawMessage   `json:"alter_wal"`
	KVAfter                   map[string][]byte `json:"kv_after"`
}

// Root returns the directory of golden logs, or skips the test.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "golden")
	if _, err := os.Stat(root); err != nil {
		t.Skip("SKIPPED: no golden logs at ../shared/golden beside the project; conformance with Milvus is not proven by this run")
	}
	return root
}

// Names lists the golden logs that carry a wal.jsonl.
func Names(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Root(t), "*", "wal.jsonl.zst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("golden logs: none found (%v)", err)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = filepath.Base(filepath.Dir(f))
	}
	sort.Strings(names)
	return names
}

// WAL returns the path of a golden log (zstd NDJSON).
func WAL(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Root(t), name, "wal.jsonl.zst")
}

// Read returns a golden file's bytes, decompressed.
func Read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".zst") {
		return b
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(b, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out
}

// Expectations returns every state known of a golden log.
func Expectations(t testing.TB, name string) []Expected {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Root(t), name, "expected*.json.zst"))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Expected, 0, len(files))
	for _, f := range files {
		e := Expected{File: filepath.Base(f)}
		if err := json.Unmarshal(Read(t, f), &e); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, e)
	}
	return out
}
