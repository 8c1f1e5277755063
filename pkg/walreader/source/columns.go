package source

import (
	"context"
	"errors"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// OpenColumns opens a range of any source as columns: natively where the source
// can, else gathered from its messages. Checksums are computed on the way, so
// payloads are read.
func OpenColumns(ctx context.Context, s Source, r Range) (ColumnReader, error) {
	if cs, ok := As[ColumnSource](s); ok {
		return cs.OpenColumns(ctx, r)
	}
	r.Props, r.Payload = true, PayloadAll
	rd, err := s.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return NewColumnReader(rd), nil
}

// columnBatch is how many messages a gathered batch holds at most.
const columnBatch = 1024

// NewColumnReader gathers a reader's messages into columns. Closing it closes
// the reader.
func NewColumnReader(r Reader) ColumnReader {
	g := &gatherer{r: r, index: map[string]uint32{"": 0}}
	g.c.VChannels = []string{""}
	return g
}

type gatherer struct {
	r     Reader
	c     message.Columns
	index map[string]uint32
	err   error // met while a batch had rows; returned next
}

func (g *gatherer) Close() error { return g.r.Close() }

// NextColumns implements ColumnReader. An error behind gathered rows comes with
// the next call, so that nothing read is lost.
func (g *gatherer) NextColumns(ctx context.Context) (*message.Columns, error) {
	if err := g.err; err != nil {
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			g.err = nil
		}
		return nil, err
	}
	g.c.Reset()
	for g.c.N < columnBatch {
		m, err := g.r.Next(ctx)
		if err != nil {
			g.err = err
			break
		}
		if m.Checksum == 0 {
			m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
		}
		g.c.Append(m, g.vchannel(m.VChannel))
	}
	if g.c.N == 0 {
		return g.NextColumns(ctx)
	}
	return &g.c, nil
}

func (g *gatherer) vchannel(v string) uint32 {
	i, ok := g.index[v]
	if !ok {
		i = uint32(len(g.c.VChannels))
		g.c.VChannels = append(g.c.VChannels, v)
		g.index[v] = i
	}
	return i
}

// Each calls fn for every message until the reader ends cleanly, fn fails or a
// read fails. A *CorruptError goes to onCorrupt (nil: it ends the read).
func Each(ctx context.Context, r Reader, fn func(*message.Message) error, onCorrupt func(*CorruptError) error) error {
	for {
		m, err := r.Next(ctx)
		switch {
		case err == nil:
			err = fn(m)
		case errors.Is(err, io.EOF):
			return nil
		case onCorrupt != nil:
			var corrupt *CorruptError // here, so that a sound read allocates nothing
			if errors.As(err, &corrupt) {
				err = onCorrupt(corrupt)
			}
		}
		if err != nil {
			return err
		}
	}
}
