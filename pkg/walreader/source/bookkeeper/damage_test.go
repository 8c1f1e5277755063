package bookkeeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/bookkeeper"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// text is long enough to shrink.
func text(n int64) string { return fmt.Sprintf("entry %d ", n) + strings.Repeat("abcd", 20) }

func texts(messages []*message.Message) map[string]string {
	out := map[string]string{}
	for _, m := range messages {
		out[m.TextID()] = string(m.Payload)
	}
	return out
}

// Every digest, compression and shape of an entry is read; a message of a batch has
// its index in its id.
func TestShapes(t *testing.T) {
	for _, digest := range []string{"crc32c", "crc32", "mac", ""} {
		for compression := range uint64(5) {
			t.Run(fmt.Sprintf("%q %d", digest, compression), func(t *testing.T) {
				dir := t.TempDir()
				put(t, filepath.Join(dir, "current", "0.log"), entryLog(
					entry(5, 0, digest, payload(t, shape{compression: compression}, text(0))),
					entry(5, 1, digest, payload(t, shape{compression: compression, messages: 3, broker: true}, text(1))),
					entry(5, 2, digest, payload(t, shape{compression: compression, broker: true}, text(2)))))
				got, gaps, torn := sourcetest.Read(t, open(t, dir, "", bookkeeper.Options{}), sourcetest.Everything())
				require.Empty(t, gaps)
				require.False(t, torn)
				require.Equal(t, map[string]string{"5/0/0": text(0), "5/1/0": text(1) + ".0", "5/1/1": text(1) + ".1", "5/1/2": text(1) + ".2", "5/2/0": text(2)}, texts(got))
			})
		}
	}
}

// Entries striped over two bookies, some on both and in another order, make one log; one bookie
// alone says what it lacks. Another's ledgers are passed over.
func TestSeveralBookies(t *testing.T) {
	e := func(n int64) []byte { return entry(5, n, "crc32c", payload(t, shape{}, text(n))) }
	other := entry(6, 0, "crc32c", []byte("what somebody else writes"))
	top := t.TempDir()
	put(t, filepath.Join(top, "a", "current", "0.log"), entryLog(e(2), other, e(0)))
	put(t, filepath.Join(top, "b", "current", "1a1f.txn"), journal(e(1), e(2), e(2), e(3)))
	for _, place := range []string{top, filepath.Join(top, "a") + "," + filepath.Join(top, "b")} {
		got, gaps, torn := sourcetest.Read(t, open(t, place, "", bookkeeper.Options{}), sourcetest.Everything())
		require.Empty(t, gaps)
		require.False(t, torn)
		require.Len(t, got, 4)
		require.Equal(t, "5/3/0", got[3].TextID())
	}
	got, gaps, _ := sourcetest.Read(t, open(t, filepath.Join(top, "a"), "", bookkeeper.Options{}), sourcetest.Everything())
	require.Len(t, got, 2)
	require.Len(t, gaps, 1)
	require.Equal(t, "entry 1 of ledger 5", gaps[0].Place)
	require.ErrorContains(t, gaps[0], "another bookie")
}

// Whatever byte is another one, all but what it stands in is read, nothing is invented, and what
// is lost is said; wherever the file is cut, all before the place is read.
func TestEveryByte(t *testing.T) {
	const n = 4
	every := 1
	if testing.Short() {
		every = 11
	}
	var entries [][]byte
	for i := range int64(n) {
		entries = append(entries, entry(5, i, "crc32c", payload(t, shape{messages: int(i % 2), broker: i > 1}, text(i))))
	}
	for name, b := range map[string][]byte{"0.log": entryLog(entries...), "1a.txn": journal(entries...)} {
		dir := t.TempDir()
		path := filepath.Join(dir, "current", name)
		put(t, path, b)
		all, gaps, _ := sourcetest.Read(t, open(t, dir, "", bookkeeper.Options{}), sourcetest.Everything())
		require.Empty(t, gaps)
		require.Len(t, all, n)
		whole := texts(all)
		check := func(what string, least int, mayTear bool) {
			got, gaps, torn := sourcetest.Read(t, open(t, dir, "", bookkeeper.Options{}), sourcetest.Everything())
			require.GreaterOrEqual(t, len(got), least, what)
			require.Subset(t, whole, texts(got), what)
			if len(got) < n && !mayTear {
				require.True(t, len(gaps) > 0 || torn, "%s: %d read and nothing said", what, len(got))
			}
		}
		for at := 0; at < len(b); at += every {
			if name == "1a.txn" && at > len(b)-2048 || at > 8 && at < 500 {
				continue // zeros
			}
			flip := byte(1) << (at % 8)
			b[at] ^= flip
			require.NoError(t, os.WriteFile(path, b, 0o600))
			check(fmt.Sprintf("%s, byte %d ^ %02x", name, at, flip), n-1, false)
			b[at] ^= flip
		}
		for to := 1500; to < len(b); to += 7 {
			require.NoError(t, os.WriteFile(path, b[:to], 0o600))
			check(fmt.Sprintf("%s cut to %d", name, to), 1, true)
		}
	}
}

// A hole of zeros takes what lay there and no more.
func TestHole(t *testing.T) {
	var entries [][]byte
	for i := range int64(30) {
		entries = append(entries, entry(5, i, "crc32c", payload(t, shape{}, text(i))))
	}
	b := entryLog(entries...)
	size := 4 + len(entries[0])
	from, to := 1024+10*size+5, 1024+13*size+20
	clear(b[from:to])
	dir := t.TempDir()
	put(t, filepath.Join(dir, "current", "0.log"), b)
	got, gaps, torn := sourcetest.Read(t, open(t, dir, "", bookkeeper.Options{}), sourcetest.Everything())
	require.False(t, torn)
	require.Len(t, got, 26)
	require.Len(t, gaps, 1)
	require.Equal(t, "entries 10 to 13 of ledger 5", gaps[0].Place)
	require.EqualValues(t, 4, gaps[0].Lost)
	require.ErrorContains(t, gaps[0], "0.log")
}

// What lies on a disk may be anything.
func FuzzFile(f *testing.F) {
	e := entry(5, 0, "crc32c", payload(f, shape{messages: 2, compression: zstdFrame}, text(0)))
	f.Add(entryLog(e, e), false)
	f.Add(journal(e, e), true)
	f.Add([]byte("BKLG\x00\x00\x00\x01\x00\x00\x00\x08"), true)
	f.Fuzz(func(t *testing.T, b []byte, txn bool) {
		dir := t.TempDir()
		name := map[bool]string{false: "0.log", true: "0.txn"}[txn]
		put(t, filepath.Join(dir, name), b)
		logs, err := bookkeeper.Backend().Logs(t.Context(), dir, source.Options{})
		if err != nil {
			return
		}
		for _, l := range logs {
			s, err := bookkeeper.Open(t.Context(), dir, l, bookkeeper.Options{IncludeDeleted: true})
			require.NoError(t, err)
			got, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
			_, err = s.Bounds(t.Context())
			require.NoError(t, err)
			for i, m := range got {
				require.False(t, i > 0 && m.ID.Compare(got[i-1].ID) <= 0)
			}
			require.NoError(t, s.Close())
		}
	})
}
