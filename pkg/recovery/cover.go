package recovery

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// fingerprint follows the records read: their ids, types, TimeTicks, vchannels and
// terms, in the order they lie in. Two stretches of logs with the same fingerprint
// hold the same messages, whatever the logs lie in.
type fingerprint struct {
	hash xxhash.Digest
	used bool
}

func (f *fingerprint) add(m *message.Message) {
	if !f.used {
		f.hash.Reset()
		f.used = true
	}
	var b [48]byte
	n := binary.LittleEndian
	n.PutUint64(b[0:], uint64(m.ID.A))
	n.PutUint64(b[8:], uint64(m.ID.B))
	n.PutUint32(b[16:], uint32(max(m.ID.Batch, 0))) // a single message has no index in some places
	n.PutUint32(b[20:], uint32(m.Type))
	n.PutUint64(b[24:], m.TimeTick)
	n.PutUint64(b[32:], uint64(m.Term))
	n.PutUint64(b[40:], uint64(len(m.VChannel)))
	_, _ = f.hash.Write(b[:])             // cannot fail
	_, _ = f.hash.WriteString(m.VChannel) // cannot fail
}

// Digest tells the records covered from any others; "" where they did not lie in
// the order of their ids, so that a second reading need not meet them alike.
func (c *Coverage) Digest() string {
	if !c.print.used || c.disorder {
		return ""
	}
	return hex.EncodeToString(c.print.hash.Sum(nil))
}

// Cover reads a stretch of a log, both ends inclusive, and says what of it is
// there. Places that cannot be read are gaps, as in a Replay.
func Cover(ctx context.Context, src source.Source, from, to message.ID) (Coverage, error) {
	p := &replay{start: from, res: &Result{}}
	rd, err := guarded(ctx, src, source.Range{
		From: source.Bound{Kind: source.AtID, ID: from}, To: source.Bound{Kind: source.AtID, ID: to}, Payload: source.PayloadDDL,
	})
	if err != nil {
		return Coverage{}, fmt.Errorf("read %s to %s again: %w", from, to, err)
	}
	defer func() { _ = rd.Close() }()
	p.reader = rd
	for err == nil {
		_, err = p.Next(ctx)
	}
	if ctx.Err() != nil {
		return p.cover.Coverage, context.Cause(ctx)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, source.ErrTornTail) {
		return p.cover.Coverage, fmt.Errorf("read %s to %s again: %w", from, to, err)
	}
	return p.cover.Coverage, p.readError(err)
}
