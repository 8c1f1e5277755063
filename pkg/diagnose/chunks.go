package diagnose

import (
	"math"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// splits follows the messages that stand in several records. order.Chunks says which
// of them readers get.
type splits struct {
	order.Chunks
	// gone are those readers do not get and whose first record waits in the window.
	gone map[splitKey]struct{}
	// vchannels are the indexes of those that had any.
	vchannels map[string]uint32
	// judged is the last one whose first record left the window.
	judged splitKey
}

// splitKey is what the records of one message share.
type splitKey struct {
	tt       uint64
	vchannel string
	typ      message.Type
}

// take takes row i, a record of such a message. Its payload is not kept: the
// checksum tells records apart.
func (s *splits) take(c *message.Columns, i int) {
	m := c.Full[i]
	if m == nil {
		return
	}
	if s.vchannels == nil {
		s.vchannels = make(map[string]uint32)
	}
	s.vchannels[m.VChannel] = c.VChannel[i]
	bare := *m
	bare.Payload, bare.PayloadSize, bare.Checksum = nil, max(m.PayloadSize, int64(len(m.Payload))), c.Checksum[i]
	s.Take(&bare)
}

// notWhole is told of a message's records that never become a message.
func (v *verifier) notWhole(m *message.Message, why order.Reason, tick uint64) {
	o := occurrence{pos: makePosition(m.ID.A, m.ID.B, m.ID.Batch), tt: m.TimeTick, vchannel: v.splits.vchannels[m.VChannel], typ: m.Type,
		rows: m.Rows, term: m.Term}
	switch why {
	case order.ChunkAgain:
		if !m.Has(message.ChunkRest) && m.TimeTick <= v.terms.tick {
			return // told as a message that came too late
		}
		o.note, o.rows = "a record of a split message that was retried and had landed", 0
		v.tell(retryDuplicate, o)
		return
	case order.ChunksUnfinished:
		if tick == math.MaxUint64 { // its writer may be at it still
			v.skip(m)
			return
		}
		o.note = "the first records of a message whose others were never written"
		v.tell(recovery.CheckChunksUnfinished, o)
	case order.ChunksMissing:
		o.note = "a message some of whose records are gone"
		v.tell(recovery.CheckChunksMissing, o)
	default:
		o.note = "a message whose records contradict each other"
		v.tell(recovery.CheckChunksMissing, o)
	}
	v.dropped.add(m.VChannel, m.Type, m.Rows)
	if v.opts.ListDropped {
		v.dropped.List = append(v.dropped.List, Dropped{ID: m.ID, IDText: m.ID.String(), VChannel: m.VChannel, Type: m.Type,
			TypeName: m.Type.String(), Rows: m.Rows, TimeTick: m.TimeTick, Term: m.Term, Behind: tick})
	}
	v.skip(m)
}

// skip keeps the first record of a message that readers do not get from being judged
// as one.
func (v *verifier) skip(m *message.Message) {
	if !m.Has(message.ChunkRest) && m.TimeTick > v.terms.tick {
		if v.splits.gone == nil {
			v.splits.gone = make(map[splitKey]struct{})
		}
		v.splits.gone[splitKey{m.TimeTick, m.VChannel, m.Type}] = struct{}{}
	}
}

// chunked judges a record of a split message that leaves the window. It reports
// whether it stands for the message: the first does, unless readers never get it.
func (v *verifier) chunked(e *entry) bool {
	if e.flags&message.ChunkRest != 0 {
		return false
	}
	s := &v.splits
	k := splitKey{e.tt, v.names[e.vchannel], e.typ}
	if k == s.judged {
		return false // written again
	}
	s.judged = k
	if _, gone := s.gone[k]; gone {
		delete(s.gone, k)
		return false
	}
	v.tell(recovery.CheckChunked, v.at(e, "a message in several records (_ci, _ct), as a Milvus newer than 3.0 writes"))
	return true
}
