package woodpecker_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
	"github.com/walctl/walctl/pkg/walreader/source/woodpecker"
)

var le = binary.LittleEndian

func frame(kind byte, payload []byte) []byte {
	b := append([]byte{0, 0, 0, 0, kind}, le.AppendUint32(nil, uint32(len(payload)))...)
	b = append(b, payload...)
	le.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

// entry is a TimeTick message whose payload tells its number.
func entry(n int64) []byte {
	payload := fmt.Sprintf("the payload of entry %d", n)
	b := append([]byte{1<<3 | 2, byte(len(payload))}, payload...)
	for _, kv := range [][2]string{{"_v", "1"}, {"_t", "1"}, {"_tt", "3kpq"}, {"_lcs", ""}, {"_h", ""}} {
		kv := append(append([]byte{1<<3 | 2, byte(len(kv[0]))}, kv[0]...), append([]byte{2<<3 | 2, byte(len(kv[1]))}, kv[1]...)...)
		b = append(append(b, 2<<3|2, byte(len(kv))), kv...)
	}
	return b
}

func fileHeader(version uint16) []byte {
	p := append(le.AppendUint16(le.AppendUint16(nil, version), 0), make([]byte, 8)...)
	return frame(1, append(p, "HDR\x01"...))
}

// block is a block header and its entries.
func block(number int, first, last int64) []byte {
	var data []byte
	for e := first; e <= last; e++ {
		data = append(data, frame(2, entry(e))...)
	}
	p := le.AppendUint32(nil, uint32(number))
	p = le.AppendUint64(le.AppendUint64(p, uint64(first)), uint64(last))
	p = le.AppendUint32(le.AppendUint32(p, uint32(len(data))), crc32.ChecksumIEEE(data))
	return append(frame(5, p), data...)
}

// closing is an index and a footer; lac −1 makes it format 5.
func closing(lac int64, flags uint16, blocks ...[2]int64) []byte {
	var b []byte
	for i, r := range blocks {
		p := le.AppendUint64(le.AppendUint32(nil, uint32(i)), uint64(i))
		p = le.AppendUint64(le.AppendUint64(le.AppendUint32(p, 1), uint64(r[0])), uint64(r[1]))
		b = append(b, frame(3, p)...)
	}
	p := append(le.AppendUint32(nil, uint32(len(blocks))), make([]byte, 24)...)
	version := uint16(5)
	if lac >= 0 {
		version = 6
	}
	p = append(le.AppendUint16(le.AppendUint16(p, version), flags), "FTR\x01"...)
	if lac >= 0 {
		p = le.AppendUint64(p, uint64(lac))
	}
	return append(b, frame(4, p)...)
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, b, 0o600))
	quiet := time.Now().Add(-time.Hour) // nobody is writing it
	require.NoError(t, os.Chtimes(path, quiet, quiet))
}

// told is what a log gives, as text: entries with their marks, and what is lost.
func told(t testing.TB, path string) (entries []string, gaps []*source.CorruptError, torn bool) {
	t.Helper()
	logs, err := woodpecker.Logs(t.Context(), path)
	require.NoError(t, err)
	s, err := woodpecker.Open(t.Context(), path, logs[0], "")
	require.NoError(t, err)
	got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
	for _, m := range got {
		require.Equal(t, fmt.Sprintf("the payload of entry %d", m.ID.B), string(m.Payload), "id %s", m.ID)
		mark := m.ID.String()
		if m.Has(message.InBadBlock) {
			mark += "b"
		}
		if m.Has(message.Unacknowledged) {
			mark += "u"
		}
		entries = append(entries, mark)
	}
	return entries, gaps, torn
}

func lostOf(gaps []*source.CorruptError) (n int64) {
	for _, g := range gaps {
		n += g.Lost
	}
	return n
}

// Every byte of a closed segment flipped: the entry it lies in is lost and counted, and
// no other; a byte of anything else loses none. The place is named.
func TestEveryByteFlipped(t *testing.T) {
	for _, lac := range []int64{-1, 8} {
		whole := join(fileHeader(5), block(0, 0, 3), block(1, 4, 4), block(2, 5, 8), closing(lac, 0, [2]int64{0, 3}, [2]int64{4, 4}, [2]int64{5, 8}))
		path := filepath.Join(t.TempDir(), "1", "7", "data.log")
		for at := range whole {
			for _, mask := range []byte{0x81} {
				b := join(whole)
				b[at] ^= mask
				write(t, path, b)
				entries, gaps, torn := told(t, path)
				require.False(t, torn)
				require.Len(t, gaps, 1, "byte %d", at)
				require.EqualValues(t, 9, int64(len(entries))+lostOf(gaps), "byte %d: %v: %v", at, entries, gaps[0])
				require.LessOrEqual(t, lostOf(gaps), int64(1), "byte %d: %v", at, gaps[0])
				var from, to int
				_, err := fmt.Sscanf(gaps[0].Cause.Error(), "7/data.log, bytes %d to %d", &from, &to)
				require.NoError(t, err, gaps[0].Cause)
				require.True(t, from <= at && at <= to, "byte %d: %v", at, gaps[0])
			}
		}
	}
}

// Every two bytes some distance apart flipped: nothing is invented (told compares every
// payload with its id), and what is read and what is lost make up the whole.
func TestTwoBytesFlipped(t *testing.T) {
	whole := join(fileHeader(5), block(0, 0, 5), block(1, 6, 9), closing(-1, 0, [2]int64{0, 5}, [2]int64{6, 9}))
	path := filepath.Join(t.TempDir(), "1", "7", "data.log")
	for a := 0; a < len(whole); a += 17 {
		for z := a + 3; z < len(whole); z += 53 {
			b := join(whole)
			b[a] ^= 0x10
			b[z] ^= 0x04
			write(t, path, b)
			entries, gaps, torn := told(t, path)
			require.True(t, torn || len(gaps) > 0, "bytes %d and %d", a, z)
			if len(gaps) == 0 {
				require.Len(t, entries, 10)
				continue
			}
			if last := gaps[len(gaps)-1]; last.Lost < 0 { // what was damaged up to the end may have been anything
				require.GreaterOrEqual(t, a, len(whole)-2*41-45)
				last.Lost = 0
			}
			require.EqualValues(t, 10, int64(len(entries))+lostOf(gaps), "bytes %d and %d: %v: %v", a, z, entries, gaps)
		}
	}
}

// A segment cut at every byte: every whole record before the cut is read, and what the
// last block header names beyond it is lost.
func TestEveryCut(t *testing.T) {
	whole := join(fileHeader(6), block(0, 0, 3), block(1, 4, 6))
	var ends []int
	for e, at := int64(0), len(fileHeader(6)); e <= 6; e++ {
		if e == 0 || e == 4 {
			at += 37
		}
		at += len(frame(2, entry(e)))
		ends = append(ends, at)
	}
	path := filepath.Join(t.TempDir(), "1", "7", "data.log")
	for cut := range whole {
		write(t, path, whole[:cut])
		entries, gaps, torn := told(t, path)
		n, named := 0, 0
		for n < len(ends) && ends[n] <= cut {
			n++
		}
		if cut >= 25+37 {
			named = 4
		}
		if cut >= ends[3]+37 {
			named = 7
		}
		require.Len(t, entries, n, "cut at %d", cut)
		require.EqualValues(t, max(named-n, 0), lostOf(gaps), "cut at %d: %v", cut, gaps)
		require.False(t, torn && named > n)
		boundary := cut == 0 || cut == 25 || cut == ends[3]
		require.Equal(t, !boundary && named <= n, torn, "cut at %d: %v", cut, gaps)
	}
}

// What a copied bucket holds: blocks, merged blocks and a footer that says which count.
func TestBucket(t *testing.T) {
	blocks := [][]byte{join(fileHeader(6), block(0, 0, 1)), block(1, 2, 3), block(2, 4, 5), block(3, 6, 7)}
	index := [][2]int64{{0, 1}, {2, 3}, {4, 5}, {6, 7}}
	for _, c := range []struct {
		name    string
		files   map[string][]byte
		entries string
		lost    int64
		gaps    string
	}{
		{"open", map[string][]byte{"0.blk": blocks[0], "1.blk": blocks[1]}, "0 1 2 3", 0, ""},
		{"fenced", map[string][]byte{"0.blk": blocks[0], "1.blk": blocks[1], "2.blk": []byte("F")}, "0 1 2 3", 0, ""},
		{"closed", map[string][]byte{"0.blk": blocks[0], "1.blk": blocks[1], "2.blk": blocks[2], "3.blk": blocks[3], "footer.blk": closing(7, 0, index...)}, "0 1 2 3 4 5 6 7", 0, ""},
		{"above the last acknowledged", map[string][]byte{"0.blk": blocks[0], "1.blk": blocks[1], "footer.blk": closing(2, 0, index[:2]...)}, "0 1 2 3u", 0, ""},
		{"one missing", map[string][]byte{"0.blk": blocks[0], "2.blk": blocks[2], "3.blk": blocks[3], "footer.blk": closing(7, 0, index...)}, "0 1 4 5 6 7", 2, "7/1.blk"},
		{"two missing, open", map[string][]byte{"0.blk": blocks[0], "3.blk": blocks[3]}, "0 1 6u 7u", 4, "7/1.blk to 2.blk"},
		{"the first missing", map[string][]byte{"1.blk": blocks[1], "footer.blk": closing(3, 0, index[:2]...)}, "2 3", 2, "7/0.blk"},
		{"the last missing", map[string][]byte{"0.blk": blocks[0], "footer.blk": closing(3, 0, index[:2]...)}, "0 1", 2, "names entries up to 3"},
		{"compacted", map[string][]byte{"m_0.blk": join(fileHeader(6), block(0, 0, 3)), "m_1.blk": block(1, 4, 7), "footer.blk": closing(7, 1, [2]int64{0, 3}, [2]int64{4, 7})}, "0 1 2 3 4 5 6 7", 0, ""},
		{"both sets, compacted", map[string][]byte{"0.blk": blocks[0], "3.blk": blocks[3], "m_0.blk": join(fileHeader(6), block(0, 0, 7)), "footer.blk": closing(7, 1, [2]int64{0, 7})}, "0 1 2 3 4 5 6 7", 0, ""},
		{"both sets, not yet", map[string][]byte{"0.blk": blocks[0], "1.blk": blocks[1], "m_0.blk": join(fileHeader(6), block(0, 0, 1)), "footer.blk": closing(3, 0, index[:2]...)}, "0 1 2 3", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "1", "7")
			for name, b := range c.files {
				write(t, filepath.Join(dir, name), b)
			}
			for _, path := range []string{dir, filepath.Dir(dir)} {
				entries, gaps, torn := told(t, path)
				require.Equal(t, c.entries, strings.ReplaceAll(strings.Join(entries, " "), "7/", ""))
				require.Equal(t, c.lost, lostOf(gaps))
				require.False(t, torn)
				if c.gaps == "" {
					require.Empty(t, gaps)
				} else {
					require.Len(t, gaps, 1)
					require.ErrorContains(t, gaps[0], c.gaps)
				}
			}
		})
	}
}

// Segments of one log: one that is missing, one that is empty, and the last whose end
// stands in the middle of a block.
func TestSegmentsOfALog(t *testing.T) {
	dir := t.TempDir()
	segment := join(fileHeader(5), block(0, 0, 1), closing(-1, 0, [2]int64{0, 1}))
	for n, b := range map[int][]byte{3: segment, 4: segment, 7: segment, 10: fileHeader(5), 11: segment} {
		write(t, filepath.Join(dir, "9", fmt.Sprint(n), "data.log"), b)
	}
	entries, gaps, _ := told(t, dir)
	require.Equal(t, "3/0 3/1 4/0 4/1 7/0 7/1 11/0 11/1", strings.Join(entries, " "))
	require.Len(t, gaps, 2)
	require.ErrorContains(t, gaps[0], "segments 5 to 6 is corrupt: the directory is missing")
	require.ErrorContains(t, gaps[1], "segments 8 to 9")

	// two logs side by side, and one that nodes hold twice
	write(t, filepath.Join(dir, "10", "0", "data.log"), segment)
	logs, err := woodpecker.Logs(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, []woodpecker.Log{{ID: "9"}, {ID: "10"}}, logs)
	write(t, filepath.Join(dir, "node-b", "wp", "10", "0", "data.log"), segment)
	logs, err = woodpecker.Logs(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, []woodpecker.Log{{ID: "9"}, {ID: "10"}, {ID: "node-b/wp/10"}}, logs)
}

// A length that claims more than there is takes no memory and hides nothing.
func TestLyingLengths(t *testing.T) {
	lie := frame(2, entry(2))
	for _, n := range []uint32{1 << 20, 100 << 20, 1<<32 - 1, 0} {
		b := join(lie)
		le.PutUint32(b[5:], n)
		path := filepath.Join(t.TempDir(), "1", "7", "data.log")
		write(t, path, join(fileHeader(5), block(0, 0, 1), b, block(1, 2, 3), make([]byte, 2<<20)))
		entries, gaps, _ := told(t, path)
		require.Equal(t, "7/0 7/1 7/2 7/3", strings.Join(entries, " "), "length %d", n)
		require.Len(t, gaps, 1)
	}
}

// What a writer adds while the log is read is an end, and no damage.
func TestBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "1", "0", "data.log")
	write(t, path, fileHeader(6))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := int64(0); ; n++ {
			b := block(int(n), 2*n, 2*n+1)
			for _, part := range [][]byte{b[:37], b[37:]} { // two writes, as Woodpecker's
				if _, err := f.Write(part); err != nil {
					return
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	last := 0
	for range 40 {
		entries, gaps, torn := told(t, dir)
		require.Empty(t, gaps)
		require.False(t, torn)
		require.GreaterOrEqual(t, len(entries), last)
		last = len(entries)
	}
	close(stop)
	<-done
	require.NoError(t, f.Close())
	require.Positive(t, last)
}

// FuzzSegment: whatever a file holds, reading it ends, and what it gives has ids in order.
func FuzzSegment(f *testing.F) {
	f.Add(join(fileHeader(5), block(0, 0, 3), block(1, 4, 4), closing(-1, 0, [2]int64{0, 3}, [2]int64{4, 4})))
	f.Add(join(fileHeader(6), block(0, 0, 3), closing(3, 1, [2]int64{0, 3})))
	f.Add(join(fileHeader(6), block(0, 5, 6), block(0, 2, 5), block(1, 4, 4)[:60]))
	f.Add(join(block(0, 0, 2)[37:], block(1, 9, 12)))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "data.log")
		write(t, path, b)
		s, err := woodpecker.Open(t.Context(), path, woodpecker.Log{}, "x")
		require.NoError(t, err)
		got, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
		for i := 1; i < len(got); i++ {
			require.True(t, got[i-1].ID.Less(got[i].ID), "%s before %s", got[i-1].ID, got[i].ID)
		}
		bounds, err := s.Bounds(t.Context())
		require.NoError(t, err)
		if len(got) > 0 {
			require.False(t, bounds.Empty)
		}
	})
}
