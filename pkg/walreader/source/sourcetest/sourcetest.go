// Package sourcetest is the one conformance suite every source passes: same
// records, same ranges, same ends, whatever the log lies in.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Suite is a source to test and what it must return.
type Suite struct {
	// Open opens the source anew. The suite closes it.
	Open func(t testing.TB) source.Source
	// Want is every record of the log, in order: ids, properties, payload. At
	// least four.
	Want []*message.Message
	// OrdinalsFromStart: an ordinal counts from the range's first record instead
	// of the log's, as where the log's beginning may be gone.
	OrdinalsFromStart bool
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if len(s.Want) < 4 {
		t.Fatalf("the suite needs four records, has %d", len(s.Want))
	}
	t.Run("records", s.records)
	t.Run("bounds", s.bounds)
	t.Run("ranges", s.ranges)
	t.Run("limit", s.limit)
	t.Run("time", s.time)
	t.Run("offsets", s.offsets)
	t.Run("payload", s.payload)
	t.Run("columns", s.columns)
	t.Run("context", s.context)
	t.Run("close", s.close)
}

func (s Suite) source(t testing.TB) source.Source {
	t.Helper()
	src := s.Open(t)
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("close the source: %v", err)
		}
	})
	return src
}

// All reads a range to its end.
func All(t testing.TB, src source.Source, r source.Range) []*message.Message {
	t.Helper()
	rd, err := src.Open(t.Context(), r)
	if err != nil {
		t.Fatalf("open %+v: %v", r, err)
	}
	defer func() { _ = rd.Close() }()
	var out []*message.Message
	if err := source.Each(t.Context(), rd, func(m *message.Message) error { out = append(out, m); return nil }, nil); err != nil {
		t.Fatalf("read %+v: after %d records: %v", r, len(out), err)
	}
	if _, err := rd.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("read %+v: a second call after the end answers %v, want io.EOF", r, err)
	}
	return out
}

// Equal compares records as stored: position, properties and, where both have
// one, payload.
func Equal(got, want *message.Message) error {
	switch {
	case got.ID != want.ID:
		return fmt.Errorf("id %s, want %s", got.ID, want.ID)
	case got.RawID() != want.RawID():
		return fmt.Errorf("%s: stored id %q, want %q", got.ID, got.RawID(), want.RawID())
	case got.TimeTick != want.TimeTick || got.Type != want.Type || got.VChannel != want.VChannel || got.Flags != want.Flags:
		return fmt.Errorf("%s: envelope differs: %s tt %d, want %s tt %d", got.ID, got.Type, got.TimeTick, want.Type, want.TimeTick)
	case got.RawLastConfirmed() != want.RawLastConfirmed():
		return fmt.Errorf("%s: last confirmed %s, want %s", got.ID, got.RawLastConfirmed(), want.RawLastConfirmed())
	case got.PayloadSize != want.PayloadSize:
		return fmt.Errorf("%s: payload of %d bytes, want %d", got.ID, got.PayloadSize, want.PayloadSize)
	case got.Props != nil && want.Props != nil && !slices.Equal(got.Props, want.Props):
		return fmt.Errorf("%s: properties %v, want %v", got.ID, got.Props, want.Props)
	case got.Payload != nil && want.Payload != nil && string(got.Payload) != string(want.Payload):
		return fmt.Errorf("%s: payload differs", got.ID)
	}
	return nil
}

func same(t *testing.T, what string, got, want []*message.Message) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if err := Equal(got[i], want[i]); err != nil {
			t.Fatalf("%s: record %d: %v", what, i, err)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

func whole() source.Range { return source.Range{Props: true, Payload: source.PayloadAll} }

func (s Suite) records(t *testing.T) {
	src := s.source(t)
	got := All(t, src, whole())
	same(t, "the whole log", got, s.Want)
	for i, m := range got {
		if m.Props == nil || (m.Payload == nil && m.PayloadSize > 0) {
			t.Fatalf("record %d lacks its properties or payload though asked for", i)
		}
		if m.Ordinal != int64(i) {
			t.Fatalf("record %d has ordinal %d", i, m.Ordinal)
		}
	}
	same(t, "a second read", All(t, src, whole()), s.Want)
}

func (s Suite) bounds(t *testing.T) {
	b, err := s.source(t).Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Empty || b.First != s.Want[0].ID || b.Last != s.Want[len(s.Want)-1].ID {
		t.Errorf("bounds %s…%s empty %v, want %s…%s", b.First, b.Last, b.Empty, s.Want[0].ID, s.Want[len(s.Want)-1].ID)
	}
	if b.Records >= 0 && b.Records != int64(len(s.Want)) {
		t.Errorf("bounds say %d records, there are %d", b.Records, len(s.Want))
	}
}

func at(id message.ID, offset int64) source.Bound {
	return source.Bound{Kind: source.AtID, ID: id, Offset: offset}
}

func (s Suite) ranges(t *testing.T) {
	src, n := s.source(t), len(s.Want)
	for _, c := range [][2]int{{0, n - 1}, {0, 0}, {n - 1, n - 1}, {1, n - 2}, {n / 2, n/2 + 1}, {n / 3, 2 * n / 3}} {
		r := whole()
		r.From, r.To = at(s.Want[c[0]].ID, 0), at(s.Want[c[1]].ID, 0)
		got := All(t, src, r)
		same(t, fmt.Sprintf("records %d to %d", c[0], c[1]), got, s.Want[c[0]:c[1]+1])
		if s.OrdinalsFromStart && got[0].Ordinal != 0 || !s.OrdinalsFromStart && got[0].Ordinal != int64(c[0]) {
			t.Errorf("records %d to %d: the first has ordinal %d", c[0], c[1], got[0].Ordinal)
		}
	}
	r := whole()
	r.From, r.To = at(s.Want[n/2].ID, 0), at(s.Want[n/2-1].ID, 0)
	same(t, "a range that ends before it begins", All(t, src, r), nil)
}

func (s Suite) limit(t *testing.T) {
	src := s.source(t)
	for _, n := range []int{1, 3, len(s.Want), len(s.Want) + 5} {
		r := whole()
		r.Limit = int64(n)
		same(t, fmt.Sprintf("limit %d", n), All(t, src, r), s.Want[:min(n, len(s.Want))])
	}
}

// time holds From and To by TimeTick and by time to source.Bound's words.
func (s Suite) time(t *testing.T) {
	src := s.source(t)
	ticks := []uint64{s.Want[0].TimeTick, s.Want[len(s.Want)/2].TimeTick, s.Want[len(s.Want)-1].TimeTick, 1, 1 << 62}
	for _, tick := range ticks {
		r := whole()
		r.From = source.Bound{Kind: source.AtTimeTick, TimeTick: tick}
		from := slices.IndexFunc(s.Want, func(m *message.Message) bool { return m.TimeTick >= tick })
		if from < 0 {
			from = len(s.Want)
		}
		same(t, fmt.Sprintf("from TimeTick %d", tick), All(t, src, r), s.Want[from:])

		r = whole()
		r.To = source.Bound{Kind: source.AtTimeTick, TimeTick: tick}
		to := slices.IndexFunc(s.Want, func(m *message.Message) bool { return m.Type == message.TypeTimeTick && m.TimeTick > tick })
		if to < 0 {
			to = len(s.Want)
		}
		same(t, fmt.Sprintf("to TimeTick %d", tick), All(t, src, r), s.Want[:to])
	}
	ms := message.PhysicalMillis(s.Want[len(s.Want)/2].TimeTick)
	r := whole()
	r.From = source.Bound{Kind: source.AtTime, Time: time.UnixMilli(ms)}
	from := slices.IndexFunc(s.Want, func(m *message.Message) bool { return message.PhysicalMillis(m.TimeTick) >= ms })
	same(t, "from a time", All(t, src, r), s.Want[from:])
}

func (s Suite) offsets(t *testing.T) {
	src, n := s.source(t), len(s.Want)
	mid := n / 2
	for _, c := range []struct{ from, to int64 }{{1, 0}, {-1, 0}, {-2, 1}, {0, -1}, {int64(-n), 0}, {0, int64(n)}} {
		r := whole()
		r.From, r.To = at(s.Want[mid].ID, c.from), at(s.Want[mid+1].ID, c.to)
		first, last := max(int64(mid)+c.from, 0), min(int64(mid)+1+c.to, int64(n)-1)
		same(t, fmt.Sprintf("from %+d to %+d", c.from, c.to), All(t, src, r), s.Want[first:last+1])
	}
}

func (s Suite) payload(t *testing.T) {
	src := s.source(t)
	for _, m := range All(t, src, source.Range{Props: true, Payload: source.PayloadDDL}) {
		hot := !m.Type.PayloadRead()
		if !hot && m.Payload == nil && m.PayloadSize > 0 {
			t.Fatalf("%s: %s lacks the payload PayloadDDL promises", m.ID, m.Type)
		}
	}
	same(t, "without payload", All(t, src, source.Range{}), s.Want)
}

func (s Suite) columns(t *testing.T) {
	src := s.source(t)
	rd, err := source.OpenColumns(t.Context(), src, source.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	n := 0
	for {
		c, err := rd.NextColumns(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.N {
			w := s.Want[n]
			if c.ID(i) != w.ID || c.TimeTick[i] != w.TimeTick || c.Type[i] != w.Type || c.VChannels[c.VChannel[i]] != w.VChannel ||
				c.PayloadSize[i] != w.PayloadSize || c.LastConfirmed(i) != w.LastConfirmed || c.Rows[i] != w.Rows {
				t.Fatalf("row %d: columns differ from the record at %s", n, w.ID)
			}
			if c.Checksum[i] != message.ComputeChecksum(w.Props, w.Payload) {
				t.Fatalf("row %d: checksum %x differs from the record's at %s", n, c.Checksum[i], w.ID)
			}
			n++
		}
	}
	if n != len(s.Want) {
		t.Fatalf("%d rows, want %d", n, len(s.Want))
	}
}

// context: a read obeys its context, and goes on with the next one.
func (s Suite) context(t *testing.T) {
	src := s.source(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if rd, err := src.Open(gone, whole()); err == nil {
		if _, err := rd.Next(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a read under a context that ended answers %v", err)
		}
		if m, err := rd.Next(t.Context()); err != nil || m.ID != s.Want[0].ID {
			t.Errorf("the read after one that was cancelled: %v, %v", m, err)
		}
		_ = rd.Close()
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("open under a context that ended: %v", err)
	}
}

// patience is how long a close may take at most before the test calls it hung;
// how long it takes is measured by benchmarks, not asserted.
const patience = 20 * time.Second

// close: from another goroutine, twice, in the middle; nothing is left running.
func (s Suite) close(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	for _, after := range []int{0, 1, len(s.Want)} {
		src := s.Open(t)
		rd, err := src.Open(t.Context(), whole())
		if err != nil {
			t.Fatal(err)
		}
		for range after {
			if _, err := rd.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 2 {
				if err := rd.Close(); err != nil {
					t.Errorf("close after %d records: %v", after, err)
				}
			}
			if err := src.Close(); err != nil {
				t.Errorf("close the source after %d records: %v", after, err)
			}
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("close after %d records hangs", after)
		}
	}
	goleak.VerifyNone(t, ignore)
}
