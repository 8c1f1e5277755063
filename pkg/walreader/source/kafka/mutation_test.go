package kafka_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/kafka"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// small is a partition of one segment, with every compression there is.
func small() []wrote {
	return []wrote{of(100, 1, plain), of(101, 3, plain), of(104, 4, zstded), of(108, 2, lz4ed), of(110, 2, gzipped), of(112, 3, snapped), of(115, 3, xerial), of(118, 2, plain)}
}

// ends are where each batch ends.
func ends(t testing.TB, batches []wrote) []int {
	t.Helper()
	var out []int
	n := 0
	for _, w := range batches {
		n += len(w.encode(t))
		out = append(out, n)
	}
	return out
}

// spell is what a message is, its place included.
func spell(m *message.Message) string {
	s := m.ID.String() + " " + string(m.Payload)
	for _, p := range m.Props {
		s += " " + p.Key + "=" + p.Value
	}
	return s
}

// Every byte of a small segment, changed: what lies in other batches is read, the place is
// named, and nothing is read that was not written.
func TestEveryByteFlipped(t *testing.T) {
	batches := small()
	dir := lay(t, batches)
	file := segmentFile(dir, 100)
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	s := open(t, dir, "", kafka.Options{})
	all, gaps, _ := sourcetest.Read(t, s, sourcetest.Everything())
	require.Len(t, all, 20)
	require.Empty(t, gaps)
	want := map[string]bool{}
	for _, m := range all {
		require.False(t, m.Has(message.InBadBlock))
		want[spell(m)] = true
	}
	stops := ends(t, batches)
	for at := range good {
		hit, begin := 0, 0
		for at >= stops[hit] {
			begin = stops[hit]
			hit++
		}
		for _, mask := range []byte{0x01, 0x10, 0x80, 0xff} {
			bad := append([]byte(nil), good...)
			bad[at] ^= mask
			require.NoError(t, os.WriteFile(file, bad, 0o600))
			require.NoError(t, os.Chtimes(file, old, old))
			got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
			read, marked := map[int64]bool{}, false
			for _, m := range got {
				marked = marked || m.Has(message.InBadBlock)
				// The offset of the last batch, when nothing behind it tells better: marked.
				last := hit == len(batches)-1 && at-begin < 8 && m.Has(message.InBadBlock)
				require.True(t, want[spell(m)] || last, "byte %d ^ %#x: invented %s", at, mask, spell(m))
				require.False(t, read[m.ID.A], "byte %d ^ %#x: %s twice", at, mask, m.ID)
				read[m.ID.A] = true
			}
			for i, w := range batches {
				for o := w.base; i != hit && o <= w.last(); o++ {
					require.True(t, read[o], "byte %d ^ %#x in batch %d: offset %d not read", at, mask, hit, o)
				}
			}
			if epoch := at-begin >= 12 && at-begin < 16; epoch {
				require.Len(t, got, len(all))
				continue
			}
			require.True(t, len(gaps) > 0 || torn || marked, "byte %d ^ %#x: not named", at, mask)
			lost := int64(0)
			for _, g := range gaps {
				lost += max(g.Lost, 0)
			}
			if hit < len(batches)-1 {
				require.False(t, torn)
				require.EqualValues(t, len(all)-len(got), lost, "byte %d ^ %#x: %v", at, mask, gaps)
			}
		}
	}
}

// A small segment, cut at every byte: the batches before the cut are read, and a cut in
// one is an end, no damage.
func TestEveryCut(t *testing.T) {
	batches := small()
	dir := lay(t, batches)
	file := segmentFile(dir, 100)
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	s := open(t, dir, "", kafka.Options{})
	all, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
	stops := ends(t, batches)
	for at := range good {
		require.NoError(t, os.WriteFile(file, good[:at], 0o600))
		require.NoError(t, os.Chtimes(file, old, old))
		whole, begin, edge := 0, 0, at == 0
		for i, w := range batches {
			if stops[i] <= at {
				whole, begin = whole+len(w.recs), stops[i]
			}
			edge = edge || stops[i] == at
		}
		got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
		require.Empty(t, gaps, "cut at %d", at)
		if zeros := len(bytes.Trim(good[begin:at], "\x00")) == 0; !zeros { // those are room kept
			require.Equal(t, !edge, torn, "cut at %d", at)
		}
		require.Len(t, got, whole)
		for i, m := range got {
			require.Equal(t, spell(all[i]), spell(m))
			require.False(t, m.Has(message.InBadBlock))
		}
	}
}

// FuzzSegment: whatever a file holds, reading it ends, and what it gives has offsets in order.
func FuzzSegment(f *testing.F) {
	join := func(batches ...wrote) (b []byte) {
		for _, w := range batches {
			b = append(b, w.encode(f)...)
		}
		return b
	}
	whole := join(small()...)
	f.Add(whole)
	f.Add(whole[30:])
	f.Add(whole[:len(whole)-40])
	f.Add(join(of(100, 2, plain), of(90, 3, zstded), of(100, 2, plain), in(7, of(103, 2, gzipped)), marker(105, 7, 0)))
	f.Add(append(join(of(100, 1, snapped)), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := segmentFile(t.TempDir(), 100)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		require.NoError(t, os.Chtimes(path, old, old))
		s, err := kafka.Open(t.Context(), path, source.Log{}, "x", kafka.Options{IncludeDeleted: true})
		require.NoError(t, err)
		got, _, _ := sourcetest.Read(t, s, sourcetest.Everything())
		for i := 1; i < len(got); i++ {
			require.True(t, got[i-1].ID.Less(got[i].ID), "%s before %s", got[i-1].ID, got[i].ID)
		}
		bounds, err := s.Bounds(t.Context())
		require.NoError(t, err)
		require.Equal(t, len(got) == 0, bounds.Empty)
		_, err = s.Start(t.Context())
		require.NoError(t, err)
	})
}

// FuzzRecords: whatever the records of a batch with a right checksum are, reading them ends.
func FuzzRecords(f *testing.F) {
	for codec := range 6 {
		w := of(100, 3, codec)
		if codec == 5 {
			w.codec = xerial
		}
		f.Add(uint8(min(codec, 4)), w.encode(f)[61:])
	}
	f.Fuzz(func(t *testing.T, codec uint8, records []byte) {
		w := of(100, 3, plain)
		w.codec, w.packed = int(codec%8), records
		path := segmentFile(t.TempDir(), 100)
		require.NoError(t, os.WriteFile(path, w.encode(t), 0o600))
		require.NoError(t, os.Chtimes(path, old, old))
		s, err := kafka.Open(t.Context(), path, source.Log{}, "x", kafka.Options{})
		require.NoError(t, err)
		got, gaps, _ := sourcetest.Read(t, s, sourcetest.Everything())
		require.True(t, len(got) == 3 || len(gaps) > 0)
	})
}
