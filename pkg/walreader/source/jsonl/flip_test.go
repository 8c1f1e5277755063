package jsonl_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// packed is a small log as both compressions write it.
func packed(t *testing.T, text []byte) map[string][]byte {
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(text, nil)}
}

// requireTold asks that a spoiled log gives either what the sound one holds, or a
// corrupt place: never fewer records and a clean or a merely torn end.
func requireTold(t *testing.T, spoiled []byte, want int, what string, at int) {
	t.Helper()
	ms, errs := readAll(t, jsonl.FromReader("log", bytes.NewReader(spoiled)), source.Range{})
	var corrupt *source.CorruptError
	for _, err := range errs {
		if errors.As(err, &corrupt) {
			return
		}
	}
	require.Len(t, ms, want, "%s at byte %d: %v", what, at, errs)
	require.Empty(t, errs, "%s at byte %d", what, at)
}

func TestNoFlippedByteAndNoCutOfACompressedLogIsACleanEnd(t *testing.T) {
	const n = 6
	for name, b := range packed(t, []byte(lines(n))) {
		t.Run(name, func(t *testing.T) {
			for i := range b {
				for _, mask := range []byte{0x01, 0x80, 0xff} {
					bad := bytes.Clone(b)
					bad[i] ^= mask
					requireTold(t, bad, n, "flip", i)
				}
				if i > 0 {
					requireTold(t, b[:i], n, "cut", i)
				}
			}
		})
	}
}
