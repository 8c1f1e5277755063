package rocksdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb/rockstest"
)

// records reads a log to its end: what was read, and how often something was not.
func records(t testing.TB, log []byte) (out []string, damaged int, end error) {
	t.Helper()
	r := rocksdb.NewLogReader("000007.log", 7, bytes.NewReader(log), int64(len(log)), 0)
	last := int64(-1)
	for n := 0; ; n++ {
		if n > 2*len(log)+16 {
			t.Fatal("the reader does not end")
		}
		rec, off, err := r.Next()
		var d *rocksdb.Damage
		switch {
		case err == nil:
			if off <= last || off >= int64(len(log)) {
				t.Fatalf("a record at %d behind one at %d", off, last)
			}
			last = off
			out = append(out, string(rec))
		case errors.As(err, &d):
			damaged++
			if d.From < 0 || d.To < d.From || d.To > int64(len(log)) {
				t.Fatalf("a damage from %d to %d in %d bytes", d.From, d.To, len(log))
			}
		default:
			return out, damaged, err
		}
	}
}

// sample is a log whose records end in a block, cross a block's end and fill blocks.
func sample(sizes ...int) (log []byte, want []string, begins []int) {
	raw := make([][]byte, len(sizes))
	for i, n := range sizes {
		raw[i] = []byte(strings.Repeat(string(rune('a'+i%26)), n))
		want = append(want, string(raw[i]))
	}
	log, begins = rockstest.Log(raw...)
	return log, want, begins
}

func TestLogRecords(t *testing.T) {
	for _, sizes := range [][]int{{0}, {1, 2, 3}, {32<<10 - 7, 5}, {32<<10 - 10, 5}, {32<<10 - 13, 100}, {100, 100 << 10, 7, 40 << 10}} {
		log, want, begins := sample(sizes...)
		got, damaged, end := records(t, log)
		require.Equal(t, want, got)
		require.Zero(t, damaged)
		require.ErrorIs(t, end, io.EOF)
		for i, at := range begins { // from any record on
			_, off, err := rocksdb.NewLogReader("l", 7, bytes.NewReader(log), int64(len(log)), int64(at)).Next()
			require.NoError(t, err)
			require.EqualValues(t, at, off, "%d", i)
		}
		zeros := append(bytes.Clone(log), make([]byte, 70<<10)...) // room that was kept for more
		got, damaged, end = records(t, zeros)
		require.Equal(t, want, got)
		require.Zero(t, damaged)
		require.ErrorIs(t, end, io.EOF)
	}
}

// A flipped byte costs the record it stands in and no other; a file cut anywhere
// gives what is whole before it, and says that it is torn where a record is cut.
func TestLogFlippedAndCut(t *testing.T) {
	for _, sizes := range [][]int{{40, 0, 3, 60, 9}, {200, 32 << 10, 50, 60}} {
		log, want, begins := sample(sizes...)
		step := max(len(log)/700, 1)
		for at := 0; at < len(log); at += step {
			for _, flip := range []byte{0x01, 0xff} {
				bad := bytes.Clone(log)
				bad[at] ^= flip
				got, damaged, _ := records(t, bad)
				hit := 0
				for hit+1 < len(begins) && begins[hit+1] <= at {
					hit++
				}
				require.Equal(t, append(append([]string{}, want[:hit]...), want[hit+1:]...), got, "byte %d", at)
				require.True(t, damaged == 1 || hit == len(want)-1, "byte %d", at)
			}
			got, damaged, end := records(t, log[:at])
			whole := 0
			for whole+1 < len(begins) && begins[whole+1] <= at {
				whole++
			}
			require.Equal(t, want[:whole], append([]string{}, got...), "cut at %d", at)
			require.Zero(t, damaged, "cut at %d", at)
			if at == begins[whole] || at == 0 {
				require.ErrorIs(t, end, io.EOF, "cut at %d", at)
			} else if at%(32<<10) != 0 {
				require.ErrorIs(t, end, rocksdb.ErrTorn, "cut at %d", at)
			}
		}
	}
}

// rows reads a table to its end.
func rows(t testing.TB, b []byte, from string) (out []string, damaged int) {
	t.Helper()
	table, err := rocksdb.OpenTable("000007.sst", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, 1
	}
	defer table.Close()
	damaged = len(table.Damage())
	it := table.Iter([]byte(from))
	for n := 0; ; n++ {
		if n > 16*len(b)+16 {
			t.Fatal("the iterator does not end")
		}
		e, err := it.Next()
		var d *rocksdb.Damage
		switch {
		case err == nil:
			out = append(out, fmt.Sprintf("%s %d %d %s", e.Key, e.Seq, e.Kind, e.Value))
		case errors.As(err, &d):
			damaged++
			_, _ = it.Bound(), it.Before()
		case errors.Is(err, io.EOF):
			n, _ := table.Rows()
			if from == "" {
				require.EqualValues(t, len(out), n)
			}
			_, _ = table.LastBefore(nil)
			return out, damaged
		default:
			t.Fatal(err)
		}
	}
}

func table(zipped bool) ([]byte, []string) {
	var ops []rockstest.Op
	var want []string
	for i := range 20 {
		o := rockstest.Op{Seq: uint64(i + 1), Kind: 1, Key: fmt.Sprintf("topic/%03d", i), Value: fmt.Sprintf("value %d", i*i)}
		ops = append(ops, o)
		want = append(want, fmt.Sprintf("%s %d %d %s", o.Key, o.Seq, o.Kind, o.Value))
	}
	ops = append(ops, rockstest.Op{Seq: 30, Kind: 15, Key: "topic/000", Value: "topic/004"})
	return rockstest.Table(4, zipped, ops...), want
}

func TestTable(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		b, want := table(zipped)
		got, damaged := rows(t, b, "")
		require.Equal(t, want, got)
		require.Zero(t, damaged)
		got, _ = rows(t, b, "topic/0070")
		require.Equal(t, want[8:], got)
		table, err := rocksdb.OpenTable("t", bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.Len(t, table.Deletions(), 1)
		require.Equal(t, "topic/004", string(table.Deletions()[0].Value))
		last, ok := table.LastBefore([]byte("topic/0135"))
		require.True(t, ok)
		require.Equal(t, "topic/013", string(last.Key))
		table.Close()
	}
}

// Whatever byte is flipped, and wherever the table is cut, what it gives is some of
// its rows, in order, and damage is named where any is missing. A flipped byte costs
// one block at most, a lost index nothing.
func TestTableFlippedAndCut(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		b, want := table(zipped)
		for at := range b {
			for _, flip := range []byte{0x01, 0xff} {
				bad := bytes.Clone(b)
				bad[at] ^= flip
				got, damaged := rows(t, bad, "")
				subset(t, want, got, "byte %d", at)
				require.GreaterOrEqual(t, len(got), len(want)-4, "byte %d", at)
				require.True(t, len(got) == len(want) || damaged > 0, "byte %d", at)
			}
			got, damaged := rows(t, b[:at], "")
			subset(t, want, got, "cut at %d", at)
			require.Positive(t, damaged, "cut at %d", at)
			require.GreaterOrEqual(t, len(got), at*len(want)/len(b)/3-4, "cut at %d", at)
		}
	}
}

func subset(t *testing.T, want, got []string, msg string, args ...any) {
	t.Helper()
	i := 0
	for _, g := range got {
		for i < len(want) && want[i] != g {
			i++
		}
		require.Less(t, i, len(want), msg+": invented "+g, args)
		i++
	}
}

// Every change of a batch is handed on; one that is cut gives what comes before.
func TestBatch(t *testing.T) {
	raw := rockstest.Batch(77, rockstest.Op{Kind: 1, Key: "a", Value: "1"}, rockstest.Op{Kind: 0, Key: "b"}, rockstest.Op{Kind: 15, Key: "c", Value: "d"})
	all := func(raw []byte) (out []string, err error) {
		b, err := rocksdb.ParseBatch(raw)
		if err != nil {
			return nil, err
		}
		_, err = b.Each(func(e rocksdb.Entry) { out = append(out, fmt.Sprintf("%d %d %s %s", e.Seq, e.Kind, e.Key, e.Value)) })
		return out, err
	}
	want, err := all(raw)
	require.NoError(t, err)
	require.Equal(t, []string{"77 1 a 1", "78 0 b ", "79 15 c d"}, want)
	for n := range raw {
		got, err := all(raw[:n])
		require.Error(t, err, "%d", n)
		require.Equal(t, want[:len(got)], append([]string{}, got...))
	}
}

func FuzzLog(f *testing.F) {
	log, _, _ := sample(40, 0, 3, 60)
	f.Add(log)
	f.Add(log[:50])
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		records(t, b)
		rocksdb.ReadManifest("MANIFEST-000001", bytes.NewReader(b), int64(len(b)))
	})
}

func FuzzTable(f *testing.F) {
	for _, zipped := range []bool{false, true} {
		b, _ := table(zipped)
		f.Add(b)
		f.Add(b[:len(b)-60])
	}
	f.Fuzz(func(t *testing.T, b []byte) { rows(t, b, "") })
}

func FuzzBatch(f *testing.F) {
	f.Add(rockstest.Batch(7, rockstest.Op{Kind: 1, Key: "a", Value: "b"}, rockstest.Op{Kind: 15, Key: "a", Value: "c"}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if batch, err := rocksdb.ParseBatch(b); err == nil {
			_, _ = batch.Each(func(rocksdb.Entry) {})
		}
	})
}
