package archive

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// wanted is what a range should bring, by the words of source.Bound.
func wanted(all []*message.Message, r source.Range) []*message.Message {
	from, to := 0, len(all)
	at := func(b source.Bound, m *message.Message) bool { // at or after a From bound
		switch b.Kind {
		case source.AtID:
			return !m.ID.Less(b.ID)
		case source.AtTime:
			return message.PhysicalMillis(m.TimeTick) >= b.Time.UnixMilli()
		case source.AtTimeTick:
			return m.TimeTick >= b.TimeTick
		}
		return true
	}
	behind := func(b source.Bound, m *message.Message) bool { // first after a To bound
		switch b.Kind {
		case source.AtID:
			return b.ID.Less(m.ID)
		case source.AtTime:
			return m.Type == message.TypeTimeTick && message.PhysicalMillis(m.TimeTick) > b.Time.UnixMilli()
		case source.AtTimeTick:
			return m.Type == message.TypeTimeTick && m.TimeTick > b.TimeTick
		}
		return false
	}
	for from < len(all) && !at(r.From, all[from]) {
		from++
	}
	for i := range all {
		if behind(r.To, all[i]) {
			to = i
			break
		}
	}
	from = min(max(0, from+int(r.From.Offset)), len(all))
	to = min(max(from, to+int(r.To.Offset)), len(all))
	if r.Limit > 0 {
		to = min(to, from+int(r.Limit))
	}
	return all[from:to]
}

func TestRangesBringWhatTheirBoundsSay(t *testing.T) {
	all := goldenMessages(t, "small")
	dir := t.TempDir()
	opt := writerOptions(all)
	opt.SegmentRows = 97
	write(t, dir, opt, all)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	var ranges []source.Range
	for i := 0; i < len(all); i += 13 {
		m, n := all[i], all[min(len(all)-1, i+41)]
		ranges = append(ranges,
			source.Range{From: source.Bound{Kind: source.AtID, ID: m.ID}},
			source.Range{From: source.Bound{Kind: source.AtID, ID: m.ID, Offset: -5}, Limit: 11},
			source.Range{To: source.Bound{Kind: source.AtID, ID: m.ID}},
			source.Range{From: source.Bound{Kind: source.AtID, ID: m.ID, Offset: 3}, To: source.Bound{Kind: source.AtID, ID: n.ID, Offset: -2}},
			source.Range{From: source.Bound{Kind: source.AtTimeTick, TimeTick: m.TimeTick}},
			source.Range{To: source.Bound{Kind: source.AtTimeTick, TimeTick: m.TimeTick}},
			source.Range{From: source.Bound{Kind: source.AtTime, Time: message.TimeOf(m.TimeTick)}, To: source.Bound{Kind: source.AtTime, Time: message.TimeOf(n.TimeTick)}},
			source.Range{From: source.Bound{Offset: int64(i)}, Limit: 1},
		)
	}
	ranges = append(ranges, source.Range{From: source.Bound{Kind: source.AtID, ID: message.LatestID(), Offset: -7}},
		source.Range{From: source.Bound{Kind: source.AtID, ID: message.EarliestID()}, Limit: 3},
		source.Range{To: source.Bound{Kind: source.AtTimeTick, TimeTick: 1<<64 - 1}})
	for _, r := range ranges {
		want := wanted(all, r)
		got, bad := readAll(t, s, r)
		require.Empty(t, bad)
		require.Len(t, got, len(want), "%+v", r)
		for i := range want {
			require.Equal(t, want[i].ID, got[i].ID, "%+v", r)
		}
		requireColumns(t, s, r, want)
	}
}

// requireColumns compares the columns of a range, all of them and one by one.
func requireColumns(t *testing.T, s *Source, r source.Range, want []*message.Message) {
	t.Helper()
	for _, set := range []message.ColumnSet{0, message.ColumnID, message.ColumnTimeTick | message.ColumnDefects, message.ColumnChecksum} {
		r.Columns = set
		c, err := s.OpenColumns(context.Background(), r)
		require.NoError(t, err)
		at := 0
		for {
			cols, err := c.NextColumns(context.Background())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.Equal(t, want[at].Ordinal, cols.Ordinal)
			for i := range cols.N {
				m := want[at+i]
				if set == 0 || set&message.ColumnID != 0 {
					require.Equal(t, m.ID, cols.ID(i))
				}
				if set == 0 || set&message.ColumnTimeTick != 0 {
					require.Equal(t, m.TimeTick, cols.TimeTick[i])
				}
				if set == 0 {
					require.Equal(t, m.VChannel, cols.VChannels[cols.VChannel[i]])
					require.Equal(t, m.Rows, cols.Rows[i])
					require.Equal(t, m.InFull(), cols.Full[i] != nil)
				}
			}
			at += cols.N
		}
		require.Equal(t, len(want), at, "%+v", r)
		require.NoError(t, c.Close())
	}
}

func TestDDLPayloadsComeWithoutRows(t *testing.T) {
	all := goldenMessages(t, "small")
	dir := t.TempDir()
	write(t, dir, writerOptions(all), all)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	got, bad := readAll(t, s, source.Range{Payload: source.PayloadDDL})
	require.Empty(t, bad)
	for i, m := range got {
		if !m.Type.PayloadRead() {
			require.Nil(t, m.Payload)
		} else {
			require.Equal(t, string(all[i].Payload), string(m.Payload))
		}
		require.Equal(t, all[i].PayloadSize, m.PayloadSize)
		require.Equal(t, m.NeedsFull(), m.Props != nil)
		require.Equal(t, all[i].RawID(), m.RawID())
	}
}

// Which rows a later reader drops is told by the index alone.
func TestMessagesBehindATimeTickAreMarked(t *testing.T) {
	all := goldenMessages(t, "live-stale-writer")
	dir := t.TempDir()
	write(t, dir, WriterOptions{PChannel: "p", Backend: message.BackendPulsar, SegmentRows: 50}, all)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	c := s.cursor(0, s.m.Records())
	behind := int64(0)
	for {
		p, err := c.next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		var marks []int8
		b := newBlock(s.m.Backend, newNames())
		b.p = p
		ints(b, &err, colBehind, &marks)
		require.NoError(t, err)
		for _, x := range marks {
			behind += int64(x)
		}
	}
	require.EqualValues(t, 87, behind)
}

func TestReadersObeyTheirContextAndCloseTwice(t *testing.T) {
	all := goldenMessages(t, "small")
	dir := t.TempDir()
	write(t, dir, writerOptions(all), all)
	s, err := Open(context.Background(), dir, Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := s.Follow(ctx, source.Range{From: source.Bound{Kind: source.AtID, ID: message.LatestID()}})
	require.NoError(t, err)
	cancel()
	_, err = r.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = r.Next(context.Background())
	require.Error(t, err)
}
