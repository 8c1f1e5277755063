package rocksmq_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb/rockstest"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/rocksmq"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

const base = 470780000000000000

func put(topic string, id int64) rockstest.Op {
	value := append([]byte("\xff\xfe\xfd\xfcSTREAM"), 1<<3|2)
	payload := fmt.Sprintf("payload of %s %d", topic, id)
	value = append(binary.AppendUvarint(value, uint64(len(payload))), payload...)
	for _, kv := range [][2]string{{"_v", "1"}, {"_t", "1"}, {"_tt", "3kpq"}, {"_lcs", ""}, {"_h", ""}} {
		entry := append([]byte{1<<3 | 2, byte(len(kv[0]))}, kv[0]...)
		entry = append(append(entry, 2<<3|2, byte(len(kv[1]))), kv[1]...)
		value = append(append(value, 2<<3|2, byte(len(entry))), entry...)
	}
	return rockstest.Op{Kind: 1, Key: fmt.Sprintf("%s/%d", topic, base+id), Value: string(value)}
}

// row is put in a table.
func row(topic string, id int64, seq uint64) rockstest.Op {
	o := put(topic, id)
	o.Seq = seq
	return o
}

func write(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	quiet := time.Now().Add(-time.Hour) // nobody is writing it
	require.NoError(t, os.Chtimes(path, quiet, quiet))
}

// logOf is a log file of one message a record, from a sequence number on.
func logOf(seq uint64, ops ...rockstest.Op) ([]byte, []int) {
	var records [][]byte
	for i, o := range ops {
		records = append(records, rockstest.Batch(seq+uint64(i), o))
	}
	return rockstest.Log(records...)
}

// manifest makes a directory one that RocksDB opens: the tables that count, and the
// first log that does.
func manifest(t testing.TB, dir string, log uint64, tables map[uint64][]rockstest.Op) {
	t.Helper()
	edit := binary.AppendUvarint([]byte{2}, log)
	for number, rows := range tables {
		key := func(o rockstest.Op) string {
			return o.Key + string(binary.LittleEndian.AppendUint64(nil, o.Seq<<8|uint64(o.Kind)))
		}
		st, err := os.Stat(filepath.Join(dir, fmt.Sprintf("%06d.sst", number)))
		size := uint64(1)
		if err == nil {
			size = uint64(st.Size())
		}
		edit = binary.AppendUvarint(append(edit, 103, 0), number)
		edit = binary.AppendUvarint(edit, size)
		for _, k := range []string{key(rows[0]), key(rows[len(rows)-1])} {
			edit = append(binary.AppendUvarint(edit, uint64(len(k))), k...)
		}
		edit = append(edit, 1, byte(rows[len(rows)-1].Seq), 1)
	}
	b, _ := rockstest.Log(edit)
	write(t, dir, "MANIFEST-000004", b)
	write(t, dir, "CURRENT", []byte("MANIFEST-000004\n"))
}

// ids reads a topic: its ids from base on, and its gaps as lost messages.
func ids(t testing.TB, dir, topic string, o rocksmq.Options) (out, lost []int64, torn bool) {
	t.Helper()
	s, err := rocksmq.Open(t.Context(), dir, topic, o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	got, gaps, torn := sourcetest.Read(t, s, sourcetest.Everything())
	for _, m := range got {
		require.Equal(t, fmt.Sprintf("payload of %s %d", topic, m.ID.A-base), string(m.Payload))
		out = append(out, m.ID.A-base)
	}
	for _, g := range gaps {
		lost = append(lost, g.Lost)
	}
	return out, lost, torn
}

func span(from, to int64) (out []int64) {
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

func puts(topic string, from, to int64) (out []rockstest.Op) {
	for i := from; i <= to; i++ {
		out = append(out, put(topic, i))
	}
	return out
}

func rowsOf(topic string, from, to int64) (out []rockstest.Op) {
	for i := from; i <= to; i++ {
		out = append(out, row(topic, i, uint64(i)))
	}
	return out
}

// Whatever byte of a log file is flipped, one message is missing, it is counted, and
// all others are read; cut anywhere, what is whole before is read.
func TestLogFileFlippedAndCut(t *testing.T) {
	dir := t.TempDir()
	log, begins := logOf(5, puts("dml_0", 1, 8)...)
	for at := range log {
		bad := bytes.Clone(log)
		bad[at] ^= 0xff
		write(t, dir, "000005.log", bad)
		hit := 0
		for hit+1 < len(begins) && begins[hit+1] <= at {
			hit++
		}
		got, lost, torn := ids(t, dir, "dml_0", rocksmq.Options{})
		require.Equal(t, append(span(1, int64(hit)), span(int64(hit)+2, 8)...), got, "byte %d", at)
		switch { // in front of the first one known, and behind the last, nothing counts
		case hit == 7:
			require.True(t, torn || len(lost) == 1 && lost[0] == -1, "byte %d", at)
		case hit == 0:
			require.Equal(t, []int64{-1}, lost, "byte %d", at)
		default:
			require.Equal(t, []int64{1}, lost, "byte %d", at)
		}
		if at < begins[1] {
			continue
		}
		write(t, dir, "000005.log", log[:at])
		got, lost, torn = ids(t, dir, "dml_0", rocksmq.Options{})
		require.Equal(t, span(1, int64(hit)), got, "cut at %d", at)
		require.Empty(t, lost)
		require.Equal(t, at != begins[hit], torn, "cut at %d", at)
	}
}

// The same for a table, alone and with its manifest.
func TestTableFlippedAndCut(t *testing.T) {
	dir := t.TempDir()
	rows := rowsOf("dml_0", 1, 12)
	b := rockstest.Table(3, false, rows...)
	write(t, dir, "000005.sst", b)
	for at := range b {
		bad := bytes.Clone(b)
		bad[at] ^= 0xff
		write(t, dir, "000005.sst", bad)
		got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
		switch len(got) {
		case 12:
			require.Empty(t, lost, "byte %d", at)
		case 9:
			require.Equal(t, []int64{3}, lost, "byte %d", at)
		default:
			t.Fatalf("byte %d: %v, lost %v", at, got, lost)
		}
	}
	manifest(t, dir, 0, map[uint64][]rockstest.Op{5: rows})
	for at := 200; at < len(b); at += 13 {
		write(t, dir, "000005.sst", b[:at])
		s, err := rocksmq.Open(t.Context(), dir, "dml_0", rocksmq.Options{})
		if err != nil {
			require.ErrorIs(t, err, source.ErrNotFound)
			continue
		}
		got, gaps, _ := sourcetest.Read(t, s, sourcetest.Everything())
		require.NoError(t, s.Close())
		require.Equal(t, len(got) == 12, len(gaps) == 0, "cut at %d: %d read, %v", at, len(got), gaps)
	}
}

// A message that stands in a log and in a table is one; a gap of one file that
// another fills is none.
func TestFilesFillEachOther(t *testing.T) {
	dir := t.TempDir()
	log, begins := logOf(1, puts("dml_0", 1, 20)...)
	log[begins[9]+20] ^= 1
	write(t, dir, "000005.log", log)
	_, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, []int64{1}, lost)
	write(t, dir, "000006.sst", rockstest.Table(4, true, rowsOf("dml_0", 5, 15)...))
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, span(1, 20), got)
	require.Empty(t, lost)
}

// A table that the manifest names and that is not there is a gap where its keys
// were; one that nothing names is read all the same.
func TestMissingTable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "000005.sst", rockstest.Table(4, false, rowsOf("dml_0", 1, 10)...))
	write(t, dir, "000007.sst", rockstest.Table(4, false, rowsOf("dml_0", 21, 30)...))
	manifest(t, dir, 9, map[uint64][]rockstest.Op{5: rowsOf("dml_0", 1, 10), 6: rowsOf("dml_0", 11, 20)})
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, append(span(1, 10), span(21, 30)...), got)
	require.Equal(t, []int64{-1}, lost)
	write(t, dir, "000006.sst", rockstest.Table(4, false, rowsOf("dml_0", 11, 20)...))
	got, lost, _ = ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, span(1, 30), got)
	require.Empty(t, lost)
}

// A log whose only table is missing is a log of which nothing is left.
func TestMissingLog(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "000005.sst", rockstest.Table(4, false, rowsOf("dml_0", 1, 10)...))
	manifest(t, dir, 9, map[uint64][]rockstest.Op{5: rowsOf("dml_0", 1, 10), 6: rowsOf("dml_1", 11, 20)})
	topics, err := rocksmq.Topics(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, []string{"dml_0", "dml_1"}, topics)
	got, lost, _ := ids(t, dir, "dml_1", rocksmq.Options{})
	require.Empty(t, got)
	require.Equal(t, []int64{-1}, lost)
	b, err := open(t, dir, "dml_1", rocksmq.Options{}).Bounds(t.Context())
	require.NoError(t, err)
	require.True(t, b.Empty && b.Lacks.End)
	got, lost, _ = ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, span(1, 10), got)
	require.Empty(t, lost)
}

// Where the beginning of the log file is bad, the manifest tells what number it had.
func TestHeadOfTheLogLost(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "000005.sst", rockstest.Table(4, false, rowsOf("dml_0", 1, 9)...))
	log, begins := logOf(10, puts("dml_0", 10, 20)...)
	clear(log[:begins[3]])
	write(t, dir, "000007.log", log)
	manifest(t, dir, 7, map[uint64][]rockstest.Op{5: rowsOf("dml_0", 1, 9)})
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, append(span(1, 9), span(13, 20)...), got)
	require.Equal(t, []int64{3}, lost)
}

// A hole in the log between messages of several topics is told to each that may have
// lost some, and to none that cannot have.
func TestHoleOfSeveralTopics(t *testing.T) {
	dir := t.TempDir()
	log, begins := logOf(1, put("dml_0", 1), put("dml_1", 2), put("dml_2", 3), put("dml_0", 4), put("dml_1", 5), put("dml_2", 6), put("dml_0", 7), put("dml_1", 8), put("dml_2", 7))
	log[begins[4]+30] ^= 1
	write(t, dir, "000005.log", log)
	for topic, want := range map[string][]int64{"dml_0": {-1}, "dml_1": {-1}, "dml_2": {-1}} {
		_, lost, _ := ids(t, dir, topic, rocksmq.Options{})
		require.Equal(t, want, lost, topic)
	}
	// Of dml_2 nothing can be missing: its ids around the hole follow each other.
	log, begins = logOf(1, put("dml_2", 6), put("dml_1", 4), put("dml_1", 5), put("dml_2", 7), put("dml_1", 8))
	log[begins[2]+30] ^= 1
	write(t, dir, "000005.log", log)
	_, lost, _ := ids(t, dir, "dml_2", rocksmq.Options{})
	require.Empty(t, lost)
	_, lost, _ = ids(t, dir, "dml_1", rocksmq.Options{})
	require.Equal(t, []int64{1}, lost)
}

// Deletions hide what was written before them, in whatever file; a key deleted and
// written again stands.
func TestDeletions(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "000005.sst", rockstest.Table(4, false, append(rowsOf("dml_0", 1, 9),
		rockstest.Op{Seq: 50, Kind: 15, Key: put("dml_0", 1).Key, Value: put("dml_0", 3).Key})...))
	log, _ := logOf(60, rockstest.Op{Kind: 0, Key: put("dml_0", 4).Key}, put("dml_0", 10), rockstest.Op{Kind: 0, Key: put("dml_0", 11).Key}, put("dml_0", 12), put("dml_0", 2))
	write(t, dir, "000006.log", log)
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, []int64{2, 3, 5, 6, 7, 8, 9, 10, 12}, got)
	require.Empty(t, lost)
	got, _, _ = ids(t, dir, "dml_0", rocksmq.Options{IncludeDeleted: true})
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12}, got)
}

// An id that was given out twice is told; the newer message is the one that counts.
func TestIDGivenOutTwice(t *testing.T) {
	dir := t.TempDir()
	older := row("dml_0", 3, 3)
	older.Value += "\x0a\x01x" // another payload
	write(t, dir, "000005.sst", rockstest.Table(4, false, row("dml_0", 1, 1), row("dml_0", 2, 2), older))
	log, _ := logOf(4, puts("dml_0", 3, 5)...)
	write(t, dir, "000006.log", log)
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, span(1, 5), got)
	require.Equal(t, []int64{1}, lost)
}

// Ids that do not rise in a log come out in their order.
func TestIDsThatDoNotRise(t *testing.T) {
	dir := t.TempDir()
	log, _ := logOf(1, put("dml_0", 5), put("dml_0", 2), put("dml_1", 3), put("dml_0", 9), put("dml_0", 7))
	write(t, dir, "000005.log", log)
	got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
	require.Equal(t, []int64{2, 5, 7, 9}, got)
	require.Empty(t, lost)
}

// A start of Milvus: what it would do is told of each state, and is what it did.
func TestStart(t *testing.T) {
	start := func(dir string) source.Start {
		s, err := rocksmq.Open(t.Context(), dir, "dml_0", rocksmq.Options{})
		require.NoError(t, err)
		defer s.Close()
		got, err := s.Start(t.Context())
		require.NoError(t, err)
		t.Log(got.Says)
		return got
	}
	dir := t.TempDir()
	rows := rowsOf("dml_0", 1, 10)
	table := rockstest.Table(4, false, rows...)
	log, begins := logOf(11, puts("dml_0", 11, 20)...)
	lay := func(table, log []byte) {
		write(t, dir, "000005.sst", table)
		write(t, dir, "000007.log", log)
		manifest(t, dir, 7, map[uint64][]rockstest.Op{5: rows})
	}
	lay(table, log)
	require.Equal(t, source.StartWhole, start(dir).Outcome)
	bad := bytes.Clone(log)
	bad[begins[3]+30] ^= 1
	lay(table, bad)
	got := start(dir)
	require.Equal(t, source.StartDeletes, got.Outcome)
	require.EqualValues(t, 6, got.Loses)
	require.Equal(t, []string{"000007.log"}, got.Deletes)
	bad = bytes.Clone(table)
	bad[20] ^= 1
	lay(bad, log)
	require.Equal(t, source.StartHangs, start(dir).Outcome)
	lay(table, log[:len(log)-5])
	require.Equal(t, source.StartWhole, start(dir).Outcome)
	lay(table, log)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "000005.sst"), table[:len(table)-3], 0o600))
	require.Equal(t, source.StartRefused, start(dir).Outcome)
	lay(table, log)
	require.NoError(t, os.Remove(filepath.Join(dir, "000005.sst")))
	require.Equal(t, source.StartRefused, start(dir).Outcome)
	lay(table, log)
	require.NoError(t, os.Remove(filepath.Join(dir, "MANIFEST-000004")))
	require.Equal(t, source.StartRefused, start(dir).Outcome)
	require.NoError(t, os.Remove(filepath.Join(dir, "CURRENT")))
	got = start(dir)
	require.Equal(t, source.StartDeletes, got.Outcome)
	require.Equal(t, []string{"000005.sst"}, got.Deletes)
}

// What is no RocksMQ directory says what it looks like.
func TestOtherDirectories(t *testing.T) {
	_, err := rocksmq.Topics(t.Context(), filepath.Join(t.TempDir(), "gone"))
	require.ErrorIs(t, err, source.ErrNotFound)
	_, err = rocksmq.Topics(t.Context(), t.TempDir())
	require.ErrorIs(t, err, source.ErrNotFound)
	dir := t.TempDir()
	log, _ := rockstest.Log(rockstest.Batch(1, rockstest.Op{Kind: 1, Key: "ledgers/x", Value: "y"}))
	write(t, dir, "000005.log", log)
	_, err = rocksmq.Topics(t.Context(), dir)
	require.ErrorIs(t, err, rocksmq.ErrOther)
	log, _ = logOf(1, put("dml_0", 1))
	write(t, dir, "000005.log", log)
	_, err = rocksmq.Open(t.Context(), dir, "dml_9", rocksmq.Options{})
	require.ErrorIs(t, err, source.ErrNotFound)
	require.ErrorContains(t, err, "dml_0")
}

// Beside a live writer: what was acknowledged before the reading began is read, a
// second reading gives the first and more, and nothing is called damaged.
func TestBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	whole, begins := logOf(1, puts("dml_0", 1, 400)...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "000005.log"), whole[:begins[1]], 0o600))
	acked, done := make(chan int64, 1), make(chan struct{})
	acked <- 1
	go func() { // appends in pieces that end within records, then rolls to a table
		defer close(done)
		f, err := os.OpenFile(filepath.Join(dir, "000005.log"), os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return
		}
		defer f.Close()
		at := begins[1]
		for n := int64(1); at < len(whole); {
			to := min(at+97, len(whole))
			if _, err := f.Write(whole[at:to]); err != nil {
				return
			}
			for at = to; n < 400 && (n+1 == 400 && at == len(whole) || n+1 < 400 && begins[n+1] <= at); n++ {
			}
			<-acked
			acked <- n
		}
		_ = os.WriteFile(filepath.Join(dir, "000006.sst.tmp"), rockstest.Table(4, true, rowsOf("dml_0", 1, 400)...), 0o600)
		_ = os.Rename(filepath.Join(dir, "000006.sst.tmp"), filepath.Join(dir, "000006.sst"))
		_ = os.Remove(filepath.Join(dir, "000005.log"))
	}()
	before := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		n := <-acked
		acked <- n
		got, lost, _ := ids(t, dir, "dml_0", rocksmq.Options{})
		require.Equal(t, span(1, int64(len(got))), got)
		require.Empty(t, lost)
		require.GreaterOrEqual(t, len(got), int(n))
		require.GreaterOrEqual(t, len(got), before)
		before = len(got)
	}
	require.Equal(t, 400, before)
}

func FuzzDirectory(f *testing.F) {
	log, _ := logOf(1, puts("dml_0", 1, 5)...)
	f.Add(log, rockstest.Table(3, true, rowsOf("dml_0", 1, 7)...))
	f.Fuzz(func(t *testing.T, log, table []byte) {
		dir := t.TempDir()
		write(t, dir, "000005.log", log)
		write(t, dir, "000006.sst", table)
		s, err := rocksmq.Open(t.Context(), dir, "dml_0", rocksmq.Options{IncludeDeleted: true})
		if err != nil {
			return
		}
		defer s.Close()
		var last message.ID
		r, err := s.Open(t.Context(), sourcetest.Everything())
		if err != nil {
			return
		}
		defer r.Close()
		err = source.Each(t.Context(), r, func(m *message.Message) error {
			if !last.IsZero() && !last.Less(m.ID) {
				t.Fatalf("%s behind %s", m.ID, last)
			}
			last = m.ID
			return nil
		}, func(*source.CorruptError) error { return nil })
		if err != nil && !errors.Is(err, source.ErrTornTail) {
			t.Fatal(err)
		}
	})
}
