package message

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Flags say which properties a message carries beside the ones every message has.
type Flags uint32

// One bit for each optional property or mark.
const (
	HasTimeTick       Flags = 1 << iota // `_tt` is present and readable
	HasTerm                             // `_wt`; a persisted TimeTick without it opens a term
	HasLastConfirmed                    // `_lc` (present and empty is 0/0 on Woodpecker)
	LastConfirmedSelf                   // `_lcs`
	HasBarrier                          // `_btt`
	HasVChannel                         // `_vc`
	HasTxn                              // `_tx`
	HasBroadcast                        // `_bh`
	HasReplicate                        // `_rh`
	HasCipher                           // `_ch`: the payload is encrypted
	NotPersisted                        // `_np`: never legal in a log
	PChannelLevel                       // `_pcl`
	UnsafeReplicate                     // `_ur`
	PartialUpdate                       // `_puc`
	HasOtherProps                       // a key this version of walctl does not know
	HasHeader                           // `_h`
	ManyPartitions                      // an Insert whose header lists more than one partition
	Chunked                             // `_ci`, `_ct`: one of several records of a message; HasOtherProps is set too
	ChunkRest                           // one that is not the first of them: its rows are the first one's, and Rows is 0
	Deleted                             // its owner has deleted it; its bytes still stand on the disk. Set by a reader that was asked for such
	InBadBlock                          // its own checksum is right, that of the block around it is not, or the block is not whole. Set by a reader of disks
	Unacknowledged                      // it stands after the last entry its writer had acknowledged. Set by a reader of disks
	PayloadAbsent                       // the copy it was read from was made without its payload. Set by a reader of record lines
)

// LacksPayload reports whether a reader that was asked for the payload found a copy that
// was made without it. Before version 2 a message always has one.
func (m *Message) LacksPayload() bool {
	return m.Payload == nil && (m.PayloadSize > 0 || m.Has(PayloadAbsent) && m.Version < 2) && len(m.Defects) == 0
}

// Message is one persisted message as a WAL backend stores it, with its
// envelope decoded. The zero value of a field whose Flag is not set means
// nothing. A Message is immutable once a reader has returned it.
type Message struct {
	Ordinal int64 // position in the log as read, from 0; `i` of an NDJSON record
	ID      ID
	form    Form

	Version  int8 // 0, 1 or 2
	Type     Type
	Flags    Flags
	TimeTick uint64 // TSO: Unix milliseconds << 18 | logical
	Barrier  uint64 // TSO
	Term     int64
	VChannel string // "" = every vchannel of the pchannel

	LastConfirmed ID // for `_lcs` the own ID
	lcForm        Form
	found         *spelling // nil where every spelling is the canonical one

	TxnID       int64
	Keepalive   int64 // of the transaction part, milliseconds; −1000 = infinite
	BroadcastID uint64

	// From the typed header where it has them, 0 otherwise.
	Collection, Partition, Segment int64
	Rows, BinarySize               uint64 // BinarySize in bytes, uncompressed estimate by the proxy

	PayloadSize int64      // bytes as stored; also known where Payload was not read
	Payload     []byte     // nil where the reader was asked for none
	Props       Properties // nil where the reader was asked for none
	PublishTime int64      // Unix milliseconds by the broker, 0 = unknown

	// Checksum is xxhash64 over the properties and payload; 0 = not computed.
	Checksum uint64

	// Defects lists what is wrong with the envelope, nil for a sound one.
	Defects []Defect
}

// Defect is one thing wrong with a message's envelope. It is an error.
type Defect struct {
	Property string // the property's key, "payload", or "id"
	Cause    string // what is wrong with it
	Fatal    bool   // Milvus would panic on it, or cannot order the message
}

// Error implements error.
func (d Defect) Error() string { return fmt.Sprintf("property %s: %s", d.Property, d.Cause) }

// Has reports whether all the flags are set.
func (m *Message) Has(f Flags) bool { return m.Flags&f == f }

// Broken returns the first fatal defect, or nil.
func (m *Message) Broken() error {
	for i := range m.Defects {
		if m.Defects[i].Fatal {
			return m.Defects[i]
		}
	}
	return nil
}

// spelling keeps what a log spells otherwise than walctl would, byte for byte.
type spelling struct {
	id, lc, text          string
	hasID, hasLC, hasText bool
}

func (m *Message) spelling() *spelling {
	if m.found == nil {
		m.found = new(spelling)
	}
	return m.found
}

// RawID returns the id as Milvus stores it in a checkpoint, as it was found.
func (m *Message) RawID() string {
	if m.found != nil && m.found.hasID {
		return m.found.id
	}
	return m.ID.Raw(m.form)
}

// SetRawID sets the position and keeps its stored spelling. Spellings equal to
// the canonical one cost nothing to keep; others are copied.
func (m *Message) SetRawID(id ID, form Form, raw string) {
	m.ID, m.form = id, form
	if !id.isRaw(form, raw) {
		s := m.spelling()
		s.id, s.hasID = strings.Clone(raw), true
	}
}

// TextID returns the readable form of the id as it was found: `ids` of an
// NDJSON record, else ID.String.
func (m *Message) TextID() string {
	if m.found != nil && m.found.hasText {
		return m.found.text
	}
	return m.ID.String()
}

// SetTextID keeps the readable form of the id where it is not ID.String.
func (m *Message) SetTextID(text string) {
	var buf [64]byte
	if string(m.ID.AppendText(buf[:0])) != text {
		s := m.spelling()
		s.text, s.hasText = strings.Clone(text), true
	}
}

// RawLastConfirmed returns `_lc` as found; of `_lcs`, the own RawID.
func (m *Message) RawLastConfirmed() string {
	switch {
	case m.Has(LastConfirmedSelf):
		return m.RawID()
	case m.found != nil && m.found.hasLC:
		return m.found.lc
	}
	return m.LastConfirmed.Raw(m.lcForm)
}

// SetRawLastConfirmed is SetRawID for the last confirmed id.
func (m *Message) SetRawLastConfirmed(id ID, form Form, raw string) {
	m.LastConfirmed, m.lcForm = id, form
	if !id.isRaw(form, raw) {
		s := m.spelling()
		s.lc, s.hasLC = strings.Clone(raw), true
	}
}

// Form returns what the id's stored spelling carries beyond the position.
func (m *Message) Form() Form { return m.form }

// LastConfirmedForm is Form for the last confirmed id.
func (m *Message) LastConfirmedForm() Form { return m.lcForm }

// OpensTerm reports whether the message is an opening TimeTick: persisted by
// every read-write opening, and the only kind without `_wt`. docs/rules.md#opening-timetick
func (m *Message) OpensTerm() bool {
	return m.Type == TypeTimeTick && m.Version > 0 && !m.Has(HasTerm)
}

// ComputeChecksum returns xxhash64 over properties and payload: two messages
// with equal checksums and TimeTicks are the same append, retried.
func ComputeChecksum(p Properties, payload []byte) uint64 {
	var buf [1024]byte
	b := buf[:0] // many small writes cost a digest more than one copy
	if p.Size()+8*len(p)+len(payload) <= len(buf) {
		for i := range p {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p[i].Key))), p[i].Key...)
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p[i].Value))), p[i].Value...)
		}
		return xxhash.Sum64(append(b, payload...))
	}
	return streamChecksum(p, payload)
}

func streamChecksum(p Properties, payload []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	var n [4]byte
	put := func(s string) {
		binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
		_, _ = d.Write(n[:])
		_, _ = d.WriteString(s)
	}
	for i := range p {
		put(p[i].Key)
		put(p[i].Value)
	}
	_, _ = d.Write(payload)
	return d.Sum64()
}

// SetID sets the position whose stored and readable spellings are the canonical
// ones: what a reader that keeps ids as numbers calls. It costs nothing.
func (m *Message) SetID(id ID, form Form) { m.ID, m.form = id, form }

// SetLastConfirmed is SetID for the last confirmed id.
func (m *Message) SetLastConfirmed(id ID, form Form) { m.LastConfirmed, m.lcForm = id, form }

// Kept returns the spellings of the id, of the last confirmed id and of the
// readable form that were kept because they are not the canonical ones; nil for
// each that is.
func (m *Message) Kept() (id, lc, text *string) {
	if m.found == nil {
		return nil, nil, nil
	}
	f := *m.found
	if f.hasID {
		id = &f.id
	}
	if f.hasLC {
		lc = &f.lc
	}
	if f.hasText {
		text = &f.text
	}
	return id, lc, text
}
