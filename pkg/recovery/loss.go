package recovery

import (
	"maps"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

// Loss counts what of one vchannel's log a recovery leaves out: messages that are
// in the log behind the checkpoint, and whose rows or definitions are not in the
// state reached. Transactions that were never committed are no loss: nobody was
// told they are safe; nor is what a later DropCollection takes away. Every message counts,
// however many Issues are kept. docs/rules.md#recovery-loss
type Loss struct {
	Rows    uint64 `json:"rows"`         // of Inserts
	Deletes uint64 `json:"deletes"`      // rows of Deletes
	DDL     int64  `json:"ddl"`          // definitions: collections, partitions, schemas, replication
	Txns    int64  `json:"transactions"` // commits whose transaction is not whole
}

// IsZero reports whether nothing is left out.
func (l Loss) IsZero() bool { return l == Loss{} }

func (l *Loss) message(m *message.Message) {
	switch m.Type.Loses() {
	case message.LosesRows:
		l.Rows += m.Rows
	case message.LosesDeletes:
		l.Deletes += m.Rows
	case message.LosesTxn:
		l.Txns++
	case message.LosesDefinition:
		l.DDL++
	}
}

// lose counts a message that is left out, under its vchannel or, where it has
// none, the pchannel.
func (s *State) lose(m *message.Message) {
	name := m.VChannel
	if name == "" {
		name = s.pchannel
	}
	if s.losses == nil {
		s.losses = make(map[string]Loss)
	}
	l := s.losses[name]
	l.message(m)
	if !l.IsZero() {
		s.losses[name] = l
	}
}

// broadcast counts a definition that comes after its vchannel's DropCollection and
// repeats none before it: what it defines goes with the vchannel.
func (s *State) broadcast(m *message.Message) {
	if !m.Has(message.HasBroadcast) || m.Has(message.PChannelLevel) || m.VChannel == "" {
		return
	}
	h, err := m.BroadcastHeader()
	if err != nil {
		return // told as a broken envelope
	}
	b := s.broadcasts[m.VChannel]
	if b == nil {
		if s.broadcasts == nil {
			s.broadcasts = make(map[string]*message.Broadcasts)
		}
		b = &message.Broadcasts{}
		s.broadcasts[m.VChannel] = b
	}
	again := b.Repeats(h.GetBroadcastId(), m.Type)
	if v := s.vchannels[m.VChannel]; v != nil && dropped(v) && !again && m.Type != message.TypeDropCollection {
		s.lose(m)
	}
}

// loseDelivery counts a delivery that is left out, a transaction's parts each.
func (s *State) loseDelivery(d order.Delivery) {
	if d.Begin == nil {
		s.lose(d.Message)
	}
	for _, m := range d.Body {
		s.lose(m)
	}
}

// Losses returns what is left out so far, by vchannel; what belongs to none
// stands under the pchannel.
func (s *State) Losses() map[string]Loss { return maps.Clone(s.losses) }

// Losses returns what a restart leaves out: where the tail was replayed, what
// lies there too.
func (r *Result) Losses() map[string]Loss {
	if r.Tail != nil {
		return r.Tail.Next.Losses()
	}
	return r.State.Losses()
}

// loses reports the drops that lose what somebody was told is safe. A
// transaction that was rolled back, expired or begun anew was never committed.
func loses(why order.Reason) bool {
	switch why {
	case order.Stale, order.BodyWithoutBegin, order.CommitWithoutBegin, order.ForcePromoted, order.Undecodable, order.NoVChannel,
		order.ChunksMissing, order.ChunksBroken:
		return true
	}
	return false
}
