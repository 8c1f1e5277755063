package columnfile

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

var testColumns = []Column{
	{Name: "place", Layout: Delta},
	{Name: "kind", Kind: Int32, Layout: Dictionary},
	{Name: "many", Layout: Dictionary},
	{Name: "jumps", Layout: Repeats},
	{Name: "hash", Layout: Raw},
	{Name: "yes", Kind: Bool},
	{Name: "name", Kind: Bytes, Logical: Text, Layout: Dictionary},
	{Name: "data", Kind: Bytes},
	{Name: "small", Kind: Int32, Layout: Delta},
}

type row struct {
	place, kind, many, jumps, hash, yes int64
	name                                string
	data                                []byte
	small                               int64
}

func someRows(n int, seed uint64) []row {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]row, n)
	for i := range out {
		out[i] = row{
			place: int64(i) * 3, kind: int64(r.IntN(5)), many: r.Int64N(1 << 40), jumps: int64(r.IntN(3)) << 60,
			hash: int64(r.Uint64()), yes: int64(r.IntN(2)), name: fmt.Sprint("vchannel ", r.IntN(9)),
			data: bytes.Repeat([]byte{byte(i)}, r.IntN(40)), small: int64(int32(r.Uint32())),
		}
	}
	if n > 3 {
		out[1].place, out[2].place, out[3].many = math.MinInt64, math.MaxInt64, -1
	}
	return out
}

func writeRows(t testing.TB, rows []row, opt Options) ([]byte, Summary) {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, testColumns, opt)
	require.NoError(t, err)
	for _, r := range rows {
		for i, v := range []int64{r.place, r.kind, r.many, r.jumps, r.hash, r.yes} {
			w.Int(i, v)
		}
		w.Text(6, r.name)
		w.Bytes(7, r.data)
		w.Int(8, r.small)
		require.NoError(t, w.EndRow())
	}
	s, err := w.Close()
	require.NoError(t, err)
	require.EqualValues(t, buf.Len(), s.Size)
	require.EqualValues(t, len(rows), s.Rows)
	return buf.Bytes(), s
}

func TestRowsComeBack(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 1000, BlockRows, BlockRows + 1, 3*BlockRows + 17, 90_000} {
		rows := someRows(n, uint64(n))
		b, s := writeRows(t, rows, Options{GroupRows: 2 * BlockRows})
		f, err := Open(bytes.NewReader(b), s, testColumns)
		require.NoError(t, err)
		at := 0
		var names []string
		for _, blk := range f.Blocks() {
			require.EqualValues(t, at, blk.FirstRow)
			checkBlock(t, f, blk, rows[at:at+blk.Rows], &names)
			at += blk.Rows
		}
		require.Equal(t, n, at)
		require.NoError(t, f.CheckPages(func(e *PageError) error { return e }))
		f.Close()
	}
}

func checkBlock(t *testing.T, f *File, blk Block, want []row, names *[]string) {
	t.Helper()
	for col, get := range []func(row) int64{
		func(r row) int64 { return r.place }, func(r row) int64 { return r.kind }, func(r row) int64 { return r.many },
		func(r row) int64 { return r.jumps }, func(r row) int64 { return r.hash }, func(r row) int64 { return r.yes },
	} {
		got, err := Ints[int64](f, blk, col, nil)
		require.NoError(t, err)
		narrow, err := Ints[uint32](f, blk, col, nil)
		require.NoError(t, err)
		for i := range want {
			if got[i] != get(want[i]) || narrow[i] != uint32(get(want[i])) {
				t.Fatalf("column %d, row %d: %d, %d, want %d", col, i, got[i], narrow[i], get(want[i]))
			}
		}
	}
	small, err := Ints[int32](f, blk, 8, nil)
	require.NoError(t, err)
	texts, err := f.Texts(blk, 6, nil, func(s string) uint32 {
		*names = append(*names, s)
		return uint32(len(*names) - 1)
	})
	require.NoError(t, err)
	ends, data, err := f.Bytes(blk, 7, nil, nil)
	require.NoError(t, err)
	from := int32(0)
	for i := range want {
		require.Equal(t, want[i].name, (*names)[texts[i]])
		require.EqualValues(t, want[i].small, small[i])
		if !bytes.Equal(want[i].data, data[from:ends[i]]) {
			t.Fatalf("data of row %d", i)
		}
		from = ends[i]
	}
}

// Another reader of Parquet sees the same rows: parquet-go's own, row by row.
func TestParquetGoReadsTheSame(t *testing.T) {
	rows := someRows(BlockRows+500, 3)
	b, _ := writeRows(t, rows, Options{})
	type record struct {
		Place int64  `parquet:"place"`
		Kind  int32  `parquet:"kind"`
		Many  int64  `parquet:"many"`
		Jumps int64  `parquet:"jumps"`
		Hash  int64  `parquet:"hash"`
		Yes   bool   `parquet:"yes"`
		Name  string `parquet:"name"`
		Data  []byte `parquet:"data"`
		Small int32  `parquet:"small"`
	}
	got, err := parquet.Read[record](bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.Len(t, got, len(rows))
	for i, r := range rows {
		g := got[i]
		require.Equal(t, record{r.place, int32(r.kind), r.many, r.jumps, r.hash, r.yes == 1, r.name, g.Data, int32(r.small)}, g)
		require.True(t, bytes.Equal(r.data, g.Data))
	}
}

func TestBoundsHoldEveryValue(t *testing.T) {
	rows := someRows(3*BlockRows, 5)
	b, s := writeRows(t, rows, Options{GroupRows: 2 * BlockRows})
	f, err := Open(bytes.NewReader(b), s, testColumns)
	require.NoError(t, err)
	defer f.Close()
	lo, hi, err := f.Bounds(2)
	require.NoError(t, err)
	for k, blk := range f.Blocks() {
		least, most := int64(math.MaxInt64), int64(math.MinInt64)
		for _, r := range rows[blk.FirstRow : blk.FirstRow+int64(blk.Rows)] {
			least, most = min(least, r.many), max(most, r.many)
		}
		require.Equal(t, [2]int64{least, most}, [2]int64{lo[k], hi[k]})
	}
}
