package salvage

import (
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/rows"
)

// NDJSON writes one row a line (docs/salvage.md#ndjson). The caller flushes w.
type NDJSON struct {
	w    io.Writer
	free sync.Pool // of *[]byte
}

// NewNDJSON returns a sink of lines.
func NewNDJSON(w io.Writer) *NDJSON { return &NDJSON{w: w} }

type lines struct {
	n *NDJSON
	b []byte
}

// Write implements Chunk.
func (l *lines) Write() error {
	_, err := l.n.w.Write(l.b)
	b := l.b[:0]
	l.n.free.Put(&b)
	return err
}

// Prepare implements Sink.
func (n *NDJSON) Prepare(r *Rows) (Chunk, error) {
	head := []byte(`{"collection":`)
	head = strconv.AppendInt(head, r.Collection, 10)
	head = strconv.AppendInt(append(head, `,"partition":`...), r.Partition, 10)
	head = strconv.AppendInt(append(head, `,"segment":`...), r.Segment, 10)
	head = rows.AppendText(append(head, `,"vchannel":`...), r.VChannel)
	head = strconv.AppendUint(append(head, `,"tt":`...), r.TimeTick, 10)
	head = rows.AppendText(append(head, `,"id":`...), r.ID)
	if r.Mark.Dropped != "" {
		head = rows.AppendText(append(head, `,"dropped":`...), string(r.Mark.Dropped))
	}
	if r.Mark.Deleted {
		head = append(head, `,"deleted":true`...)
	}
	if r.Mark.Lost != 0 {
		head = rows.AppendText(append(head, `,"lost":`...), r.Mark.Lost.String())
	}
	if r.Mark.Replaces {
		head = append(head, `,"replaces":true`...)
	}
	head = append(head, `,"row":`...)
	l := &lines{n: n}
	if b, ok := n.free.Get().(*[]byte); ok {
		l.b = *b
	}
	for k, i := range r.Keep {
		if k == 1 { // rows of one message are about as long
			l.b = slices.Grow(l.b, len(l.b)*len(r.Keep))
		}
		l.b = append(l.b, head...)
		l.b = r.Batch.AppendJSON(l.b, int(i))
		l.b = append(l.b, '}', '\n')
	}
	return l, nil
}
