package bookkeeper_test

import (
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/bookkeeper"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// rocksLog is a RocksDB log file of changes, one a batch; an empty value deletes. It
// is shorter than a block.
func rocksLog(t testing.TB, changes ...[2]string) []byte {
	t.Helper()
	var out []byte
	for i, c := range changes {
		b := binary.LittleEndian.AppendUint64(nil, uint64(i+1))
		b = binary.LittleEndian.AppendUint32(b, 1)
		if c[1] == "" {
			b = append(append(b, 0, byte(len(c[0]))), c[0]...)
		} else {
			v := string(make([]byte, 41)) + c[1]
			b = append(append(b, 1, byte(len(c[0]))), c[0]...)
			b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
		data := append([]byte{1}, b...)
		crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
		out = binary.LittleEndian.AppendUint32(out, (crc>>15|crc<<17)+0xa282ead8)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(b)))
		out = append(out, data...)
	}
	require.Less(t, len(out), 32<<10)
	return out
}

// topicInfo is what metadata says of a topic: its ledgers, with how many entries each has.
func topicInfo(ledgers ...[2]uint64) string {
	var b []byte
	for _, l := range ledgers {
		b = field(b, 1, number(number(nil, 1, l[0]), 2, l[1]))
	}
	return string(b)
}

// closedAt is a closed ledger's metadata.
func closedAt(last uint64) string {
	b := number(number(nil, 4, last), 5, 3)
	return "BookieMetadataFormatVersion\t3\n" + string(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
}

const topicKey = "/managed-ledgers/public/default/persistent/by-dev-rootcoord-dml_0"

// What the broker has deleted, or left out of a ledger when it closed it, is read when that
// is asked for, and only then; without metadata nobody knows.
func TestDeleted(t *testing.T) {
	e := func(ledger, n int64) []byte { return entry(ledger, n, "crc32c", payload(t, shape{}, text(n))) }
	bookie, meta := t.TempDir(), t.TempDir()
	put(t, filepath.Join(bookie, "current", "0.log"), entryLog(e(3, 0), e(4, 0), e(5, 0), e(5, 1), e(9, 0), e(7, 0)))
	put(t, filepath.Join(meta, "000004.log"), rocksLog(t,
		[2]string{topicKey, topicInfo([2]uint64{4, 1}, [2]uint64{5, 0})},
		[2]string{"/ledgers/00/0000/L0005", closedAt(0)},
		[2]string{topicKey, topicInfo([2]uint64{5, 1}, [2]uint64{9, 1}, [2]uint64{7, 0})},
		[2]string{"/ledgers/00/0000/L0004", ""}))
	place := bookie + "," + meta
	for _, c := range []struct {
		place   string
		o       bookkeeper.Options
		want    []string
		deleted int
	}{
		{place, bookkeeper.Options{}, []string{"5/0/0", "9/0/0", "7/0/0"}, 0},
		{place, bookkeeper.Options{IncludeDeleted: true}, []string{"3/0/0", "4/0/0", "5/0/0", "5/1/0", "9/0/0", "7/0/0"}, 3},
		{bookie, bookkeeper.Options{}, []string{"3/0/0", "4/0/0", "5/0/0", "5/1/0", "7/0/0", "9/0/0"}, 0},
	} {
		s := open(t, c.place, "by-dev-rootcoord-dml_0", c.o)
		got, gaps, torn := sourcetest.Read(t, s, source.Range{})
		require.Empty(t, gaps)
		require.False(t, torn)
		ids, deleted := []string{}, 0
		for _, m := range got {
			if ids = append(ids, m.TextID()); m.Has(message.Deleted) {
				deleted++
			}
		}
		require.Equal(t, c.want, ids)
		require.Equal(t, c.deleted, deleted)
		b, err := s.Bounds(t.Context())
		require.NoError(t, err)
		require.Equal(t, [2]string{ids[0], ids[len(ids)-1]}, [2]string{b.First.String(), b.Last.String()})
	}
}

// A ledger that metadata names and no file holds, or not its end, is missing by name.
func TestMissing(t *testing.T) {
	e := func(ledger, n int64) []byte { return entry(ledger, n, "crc32c", payload(t, shape{}, text(n))) }
	bookie, meta := t.TempDir(), t.TempDir()
	put(t, filepath.Join(bookie, "current", "0.log"), entryLog(e(5, 0), e(7, 0)))
	put(t, filepath.Join(meta, "000004.log"), rocksLog(t,
		[2]string{topicKey, topicInfo([2]uint64{5, 3}, [2]uint64{6, 2}, [2]uint64{7, 0})}))
	s := open(t, bookie+","+meta, "by-dev-rootcoord-dml_0", bookkeeper.Options{})
	got, gaps, _ := sourcetest.Read(t, s, source.Range{})
	require.Len(t, got, 2)
	require.Len(t, gaps, 2)
	require.Equal(t, []string{"entries 1 to 2 of ledger 5", "entries 0 to 1 of ledger 6"}, []string{gaps[0].Place, gaps[1].Place})
	require.EqualValues(t, 2, gaps[0].Lost)
}

// Two pchannels on one bookie are two logs.
func TestSeveralLogs(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "current", "0.log"), entryLog(
		entry(5, 0, "crc32c", payload(t, shape{}, text(0))),
		entry(6, 0, "crc32c", payload(t, shape{vchannel: "by-dev-rootcoord-dml_1_7v0"}, text(0))),
		entry(8, 0, "crc32c", payload(t, shape{}, text(1)))))
	logs, err := bookkeeper.Backend().Logs(t.Context(), dir, source.Options{})
	require.NoError(t, err)
	require.Len(t, logs, 2)
	got, _, _ := sourcetest.Read(t, open(t, dir, "by-dev-rootcoord-dml_0", bookkeeper.Options{}), source.Range{})
	require.Len(t, got, 2)
	got, _, _ = sourcetest.Read(t, open(t, dir, "by-dev-rootcoord-dml_1", bookkeeper.Options{}), source.Range{})
	require.Len(t, got, 1)
}
