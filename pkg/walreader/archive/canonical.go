package archive

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Which properties a row has that its columns give back, byte for byte: bits of
// the column "canonical" (file format).
const (
	bitVersion = 1 << iota
	bitType
	bitTimeTick
	bitBarrier
	bitTerm
	bitLastConfirmed
	bitLastConfirmedSelf
	bitVChannel
	bitHeader        // `_h` is base64 of the derived part plus column "header"
	bitHeaderDerived // …and there is a derived part
	bitTxn
	bitNotPersisted
	bitPChannelLevel
	bitUnsafeReplicate
	bitPartialUpdate
	bitExtra         // column "extra" or "properties" is not empty
	bitDefect        // "extra" lists defects
	bitPrivateHeader // `_h` holds credentials: it is whole in the payload file only, see private.go
)

// splitter takes messages apart into columns. It keeps scratch memory.
type splitter struct {
	backend                   message.Backend // of the archive
	text, in, header, derived []byte
	private                   []byte // `_h` of a row whose index must not hold it
	canonical                 int64
	properties, extra         []byte

	// Spellings of the row before: the next one's are mostly the same.
	lc      cached[lcKey]
	term    cached[int64]
	version cached[int8]
	kind    cached[message.Type]
	txn     cached[[2]int64]
}

type lcKey struct {
	id   message.ID
	form message.Form
}

// cached keeps the last spelling of a value.
type cached[K comparable] struct {
	key  K
	text []byte // nil = none
}

// is reports whether v is the spelling of key.
func (c *cached[K]) is(v string, key K, spell func([]byte) []byte) bool {
	if c.text == nil || c.key != key {
		c.key, c.text = key, spell(c.text[:0])
	}
	return string(c.text) == v
}

// split sorts a message's properties into those the columns give back (bits of
// canonical), the header's bytes, and the rest.
func (s *splitter) split(m *message.Message) error {
	s.canonical, s.header, s.properties, s.extra, s.private = 0, s.header[:0], s.properties[:0], s.extra[:0], s.private[:0]
	for i := range m.Props {
		key, v := m.Props[i].Key, s.public(m, &m.Props[i])
		if bit := s.bit(m, key, v); bit != 0 {
			s.canonical |= bit
		} else if err := s.keep(key, v); err != nil {
			return err
		}
	}
	if len(s.properties) > 0 {
		s.properties = append(s.properties, '}')
	}
	s.keepOddities(m)
	if len(s.extra)+len(s.properties) > 0 {
		s.canonical |= bitExtra
	}
	if len(m.Defects) > 0 {
		s.canonical |= bitDefect
	}
	return nil
}

// bit returns the canonical bits of a property, 0 where the columns don't give
// it back.
func (s *splitter) bit(m *message.Message, key, v string) int64 {
	switch key {
	case message.KeyVersion:
		return when(s.version.is(v, m.Version, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Version), 10) }), bitVersion)
	case message.KeyType:
		return when(s.kind.is(v, m.Type, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Type), 10) }), bitType)
	case message.KeyTimeTick:
		s.text = strconv.AppendUint(s.text[:0], m.TimeTick, 36)
		return when(m.Has(message.HasTimeTick) && string(s.text) == v, bitTimeTick)
	case message.KeyBarrier:
		s.text = strconv.AppendUint(s.text[:0], m.Barrier, 36)
		return when(m.Has(message.HasBarrier) && string(s.text) == v, bitBarrier)
	case message.KeyTerm:
		return when(m.Has(message.HasTerm) && s.term.is(v, m.Term, func(b []byte) []byte { return strconv.AppendInt(b, m.Term, 36) }), bitTerm)
	case message.KeyLastConfirmed:
		return when(m.Has(message.HasLastConfirmed) && m.LastConfirmed.Backend == s.backend &&
			s.lc.is(v, lcKey{m.LastConfirmed, m.LastConfirmedForm()}, func(b []byte) []byte {
				return m.LastConfirmed.AppendRaw(b, m.LastConfirmedForm())
			}), bitLastConfirmed)
	case message.KeyVChannel:
		return when(m.VChannel == v, bitVChannel)
	case message.KeyHeader:
		return s.headerBits(m, v)
	case message.KeyTxn:
		return when(s.txn.is(v, [2]int64{m.TxnID, m.Keepalive}, func(b []byte) []byte {
			s.derived = appendTxn(s.derived[:0], m.TxnID, m.Keepalive)
			return base64.StdEncoding.AppendEncode(b, s.derived)
		}), bitTxn)
	}
	if v != "" {
		return 0
	}
	return markBit(key)
}

func markBit(key string) int64 {
	switch key {
	case message.KeyLastConfirmedSelf:
		return bitLastConfirmedSelf
	case message.KeyNotPersisted:
		return bitNotPersisted
	case message.KeyPChannelLevel:
		return bitPChannelLevel
	case message.KeyUnsafeReplicate:
		return bitUnsafeReplicate
	case message.KeyPartialUpdate:
		return bitPartialUpdate
	}
	return 0
}

func when(ok bool, bit int64) int64 {
	if ok {
		return bit
	}
	return 0
}

// headerBits decodes `_h` into s.header, without the part the columns derive.
func (s *splitter) headerBits(m *message.Message, v string) int64 {
	if v == "" {
		return bitHeader
	}
	s.in = append(s.in[:0], v...)
	var err error
	if s.header, err = base64.StdEncoding.Strict().AppendDecode(s.header[:0], s.in); err != nil ||
		base64.StdEncoding.EncodedLen(len(s.header)) != len(v) { // the decoder skips newlines
		s.header = s.header[:0]
		return 0
	}
	s.derived = appendHeader(s.derived[:0], m)
	if n := len(s.derived); n > 0 && n <= len(s.header) && string(s.header[:n]) == string(s.derived) {
		s.header = s.header[:copy(s.header, s.header[n:])]
		return bitHeader | bitHeaderDerived
	}
	return bitHeader
}

// appendHeader appends the typed header as Milvus's protobuf writes what the
// columns hold of it; nothing for types whose header has to be kept.
func appendHeader(b []byte, m *message.Message) []byte {
	switch m.Type {
	case message.TypeInsert:
		b = appendField(b, 1, uint64(m.Collection))
		var buf [64]byte
		p := appendField(buf[:0], 1, uint64(m.Partition))
		p = appendField(appendField(p, 2, m.Rows), 3, m.BinarySize)
		if m.Segment != 0 {
			var seg [16]byte
			a := appendField(seg[:0], 1, uint64(m.Segment))
			p = append(append(p, 4<<3|2, byte(len(a))), a...)
		}
		return append(append(b, 2<<3|2, byte(len(p))), p...)
	case message.TypeDelete:
		return appendField(appendField(b, 1, uint64(m.Collection)), 2, m.Rows)
	case message.TypeFlush:
		b = appendField(appendField(b, 1, uint64(m.Collection)), 2, uint64(m.Partition))
		return appendField(b, 3, uint64(m.Segment))
	case message.TypeBeginTxn:
		return appendField(b, 1, uint64(m.Keepalive))
	}
	return b
}

func appendTxn(b []byte, id, keepalive int64) []byte {
	return appendField(appendField(b, 1, uint64(id)), 2, uint64(keepalive))
}

// appendField writes a varint field below 16; protobuf leaves zeros out.
func appendField(b []byte, n byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, n<<3), v)
}

// keep puts a property into the JSON object of column "properties", or, where
// JSON cannot spell it, into "extra".
func (s *splitter) keep(key, v string) error {
	if !utf8.ValidString(key) || !utf8.ValidString(v) {
		s.extra = appendPair(s.extra, extraProperty, key, v)
		return nil
	}
	for i, x := range [2]string{key, v} {
		b, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("property %q: %w", key, err)
		}
		switch {
		case i == 1:
			s.properties = append(s.properties, ':')
		case len(s.properties) == 0:
			s.properties = append(s.properties, '{')
		default:
			s.properties = append(s.properties, ',')
		}
		s.properties = append(s.properties, b...)
	}
	return nil
}

// The fields of column "extra", a protobuf message (file format).
const (
	extraProperty protowire.Number = 1 // key and value that are not UTF-8: {1, 2}
	extraID       protowire.Number = 2 // the id's stored spelling, where not canonical
	extraText     protowire.Number = 3 // the id's readable spelling, where not canonical
	extraDefect   protowire.Number = 4 // {1 property, 2 cause, 3 fatal}
	extraBackend  protowire.Number = 5 // where not the archive's; 1 + number
)

func appendPair(b []byte, n protowire.Number, one, two string) []byte {
	var p []byte
	p = protowire.AppendString(protowire.AppendTag(p, 1, protowire.BytesType), one)
	p = protowire.AppendString(protowire.AppendTag(p, 2, protowire.BytesType), two)
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), p)
}

func (s *splitter) keepOddities(m *message.Message) {
	if m.ID.Backend != s.backend { // first: the spellings below belong to it
		s.extra = protowire.AppendVarint(protowire.AppendTag(s.extra, extraBackend, protowire.VarintType), uint64(m.ID.Backend)+1)
	}
	id, _, text := m.Kept() // an odd last confirmed id stays in "properties"
	if id != nil {
		s.extra = protowire.AppendString(protowire.AppendTag(s.extra, extraID, protowire.BytesType), *id)
	}
	if text != nil {
		s.extra = protowire.AppendString(protowire.AppendTag(s.extra, extraText, protowire.BytesType), *text)
	}
	for i := range m.Defects {
		d := &m.Defects[i]
		var p []byte
		p = protowire.AppendString(protowire.AppendTag(p, 1, protowire.BytesType), d.Property)
		p = protowire.AppendString(protowire.AppendTag(p, 2, protowire.BytesType), d.Cause)
		if d.Fatal {
			p = protowire.AppendVarint(protowire.AppendTag(p, 3, protowire.VarintType), 1)
		}
		s.extra = protowire.AppendBytes(protowire.AppendTag(s.extra, extraDefect, protowire.BytesType), p)
	}
}
