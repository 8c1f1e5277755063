package jsonl_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// A log of record lines behaves as every other source, plain and packed. That
// its records are Milvus's own is held elsewhere (TestGoldenLogsComeBackAsTheyWere).
func TestConformance(t *testing.T) {
	plain := golden.WAL(t, "small")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(golden.Read(t, plain))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	gz := filepath.Join(t.TempDir(), "wal.jsonl.gz")
	require.NoError(t, os.WriteFile(gz, packed.Bytes(), 0o600))

	want := sourcetest.All(t, jsonl.Open(plain), source.Range{Props: true, Payload: source.PayloadAll})
	for name, path := range map[string]string{"plain": plain, "gzip": gz} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, sourcetest.Suite{Want: want, Open: func(testing.TB) source.Source { return jsonl.Open(path) }})
		})
	}
}
