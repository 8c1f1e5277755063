// Package golden finds the logs whose recovered state Milvus's own code made,
// for tests. They lie in testdata/golden at the project's top; what is too large
// for it may lie in a further place, see FurtherEnv.
package golden

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// FurtherEnv names the environment variable with a further directory of golden
// logs. Without it, ../shared/golden beside the project is looked at.
const FurtherEnv = "WALCTL_GOLDEN"

// Dir is testdata/golden, which every clone has.
func Dir() string { return filepath.Join(project(), "testdata", "golden") }

func project() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// dirs are the places with golden logs: of two logs of one name the first counts.
// A further place that was named and is not there fails the test.
func dirs(t testing.TB) []string {
	t.Helper()
	further := os.Getenv(FurtherEnv)
	if further == "" {
		return []string{Dir(), filepath.Join(project(), "..", "shared", "golden")}
	}
	if _, err := os.Stat(further); err != nil {
		t.Fatalf("golden logs: %s: %v", FurtherEnv, err)
	}
	return []string{Dir(), further}
}

// Names lists the golden logs that carry a wal.jsonl, each once.
func Names(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, dir := range dirs(t) {
		files, err := filepath.Glob(filepath.Join(dir, "*", "wal.jsonl.zst"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names = append(names, filepath.Base(filepath.Dir(f)))
		}
	}
	if len(names) == 0 {
		t.Fatalf("golden logs: none found in %s", Dir())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Log returns the directory of a golden log. A log that the project does not
// carry skips the test where the further place has none either.
func Log(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range dirs(t) {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	t.Skipf("SKIPPED: golden log %s is too large for testdata/golden; name a directory that has it in %s", name, FurtherEnv)
	return ""
}

// File returns the path of a file of a golden log, which may lie at a further place
// though the log is at hand; it skips the test, and says so, where no place has it.
func File(t testing.TB, name, file string) string {
	t.Helper()
	for _, dir := range dirs(t) {
		if _, err := os.Stat(filepath.Join(dir, name, file)); err == nil {
			return filepath.Join(dir, name, file)
		}
	}
	t.Skipf("SKIPPED: %s of golden log %s is too large for testdata/golden; name a directory that has it in %s", file, name, FurtherEnv)
	return ""
}

// WAL returns the path of a golden log (zstd NDJSON).
func WAL(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Log(t, name), "wal.jsonl.zst")
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
	files, err := filepath.Glob(filepath.Join(Log(t, name), "expected*.json.zst"))
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
