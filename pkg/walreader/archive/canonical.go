package archive

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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
	bitExtra  // column "extra" or "properties" is not empty
	bitDefect // "extra" lists defects
)

// splitter takes messages apart into columns. It keeps scratch memory.
type splitter struct {
	backend                   message.Backend // of the archive
	text, in, header, derived []byte
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
	s.canonical, s.header, s.properties, s.extra = 0, s.header[:0], s.properties[:0], s.extra[:0]
	for i := range m.Props {
		key, v := m.Props[i].Key, m.Props[i].Value
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

// joiner puts messages together again. It keeps scratch memory.
type joiner struct {
	buf, proto []byte
}

// join sets a message's properties and oddities. Its other fields must be set.
func (j *joiner) join(m *message.Message, canonical int64, header, properties, extra []byte) error {
	m.Props = j.derived(m, canonical, header)
	if canonical&bitExtra == 0 {
		return nil
	}
	if len(properties) > 0 {
		var err error
		if m.Props, err = appendJSON(m.Props, properties); err != nil {
			return err
		}
	}
	if err := j.extra(m, extra); err != nil {
		return err
	}
	m.Props.Sort()
	if lc, ok := m.Props.Get(message.KeyLastConfirmed); ok && canonical&bitLastConfirmed == 0 && m.Has(message.HasLastConfirmed) {
		m.SetRawLastConfirmed(m.LastConfirmed, m.LastConfirmedForm(), lc)
	}
	return nil
}

// derived spells the properties the columns give back, in key order: all values
// lie in one string.
func (j *joiner) derived(m *message.Message, canonical int64, header []byte) message.Properties {
	type part struct {
		key      string
		from, to int
	}
	var parts [16]part
	n, b := 0, j.buf[:0]
	put := func(bit int64, key string, spell func([]byte) []byte) {
		if canonical&bit == 0 {
			return
		}
		from := len(b)
		if spell != nil {
			b = spell(b)
		}
		parts[n] = part{key, from, len(b)}
		n++
	}
	put(bitBarrier, message.KeyBarrier, func(b []byte) []byte { return strconv.AppendUint(b, m.Barrier, 36) })
	put(bitHeader, message.KeyHeader, func(b []byte) []byte {
		j.proto = j.proto[:0]
		if canonical&bitHeaderDerived != 0 {
			j.proto = appendHeader(j.proto, m)
		}
		j.proto = append(j.proto, header...)
		return base64.StdEncoding.AppendEncode(b, j.proto)
	})
	put(bitLastConfirmed, message.KeyLastConfirmed, func(b []byte) []byte {
		return m.LastConfirmed.AppendRaw(b, m.LastConfirmedForm())
	})
	put(bitLastConfirmedSelf, message.KeyLastConfirmedSelf, nil)
	put(bitNotPersisted, message.KeyNotPersisted, nil)
	put(bitPChannelLevel, message.KeyPChannelLevel, nil)
	put(bitPartialUpdate, message.KeyPartialUpdate, nil)
	put(bitType, message.KeyType, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Type), 10) })
	put(bitTimeTick, message.KeyTimeTick, func(b []byte) []byte { return strconv.AppendUint(b, m.TimeTick, 36) })
	put(bitTxn, message.KeyTxn, func(b []byte) []byte {
		j.proto = appendTxn(j.proto[:0], m.TxnID, m.Keepalive)
		return base64.StdEncoding.AppendEncode(b, j.proto)
	})
	put(bitUnsafeReplicate, message.KeyUnsafeReplicate, nil)
	put(bitVersion, message.KeyVersion, func(b []byte) []byte { return strconv.AppendInt(b, int64(m.Version), 10) })
	put(bitVChannel, message.KeyVChannel, func(b []byte) []byte { return append(b, m.VChannel...) })
	put(bitTerm, message.KeyTerm, func(b []byte) []byte { return strconv.AppendInt(b, m.Term, 36) })
	j.buf = b
	all := string(b)
	props := make(message.Properties, n, n+2)
	for i, p := range parts[:n] {
		props[i] = message.Property{Key: p.key, Value: all[p.from:p.to]}
	}
	return props
}

func (j *joiner) extra(m *message.Message, b []byte) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("column extra: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return fmt.Errorf("column extra: %w", protowire.ParseError(n))
			}
			b = b[n:]
			if num == extraBackend {
				id := m.ID
				id.Backend = message.Backend(v - 1)
				m.SetID(id, m.Form())
				if m.Flags&(message.HasLastConfirmed|message.LastConfirmedSelf) != 0 {
					m.LastConfirmed.Backend = id.Backend
				}
			}
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 || typ != protowire.BytesType {
			return fmt.Errorf("column extra: broken field %d", num)
		}
		b = b[n:]
		if err := applyExtra(m, num, v); err != nil {
			return err
		}
	}
	return nil
}

func applyExtra(m *message.Message, num protowire.Number, v []byte) error {
	switch num {
	case extraID:
		m.SetRawID(m.ID, m.Form(), string(v))
	case extraText:
		m.SetTextID(string(v))
	case extraProperty, extraDefect:
		var text [3]string
		fatal := false
		for len(v) > 0 {
			n, typ, k := protowire.ConsumeTag(v)
			if k < 0 || n > 3 {
				return fmt.Errorf("column extra: broken field %d", num)
			}
			v = v[k:]
			if typ == protowire.VarintType {
				x, k := protowire.ConsumeVarint(v)
				if k < 0 {
					return fmt.Errorf("column extra: %w", protowire.ParseError(k))
				}
				fatal, v = x != 0, v[k:]
				continue
			}
			x, k := protowire.ConsumeBytes(v)
			if k < 0 {
				return fmt.Errorf("column extra: %w", protowire.ParseError(k))
			}
			text[n-1], v = string(x), v[k:]
		}
		if num == extraDefect {
			m.Defects = append(m.Defects, message.Defect{Property: text[0], Cause: text[1], Fatal: fatal})
		} else {
			m.Props = append(m.Props, message.Property{Key: text[0], Value: text[1]})
		}
	}
	return nil
}

// fileSafe spells a name so that it is one path element everywhere and DuckDB,
// Spark and Trino read it back as the value of a partition key.
func fileSafe(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}

// idName spells an id for a file name: 12_345_0, m1 for −1.
func idName(id message.ID) string {
	var b []byte
	for i, v := range []int64{id.A, id.B, int64(id.Batch)} {
		if i > 0 {
			b = append(b, '_')
		}
		if v < 0 {
			b = append(b, 'm')
		}
		b = strconv.AppendUint(b, uint64(max(v, -v)), 10)
	}
	return string(b)
}

// appendJSON reads the object of column "properties". What it mostly is, strings
// without a backslash, is cut out; the rest goes through encoding/json.
func appendJSON(p message.Properties, object []byte) (message.Properties, error) {
	if out, ok := appendPlainJSON(p, string(object)); ok {
		return out, nil
	}
	rest := map[string]string{}
	if err := json.Unmarshal(object, &rest); err != nil {
		return nil, fmt.Errorf("column properties: %w", err)
	}
	for k, v := range rest {
		p = append(p, message.Property{Key: k, Value: v})
	}
	return p, nil
}

func appendPlainJSON(p message.Properties, s string) (message.Properties, bool) {
	if strings.IndexByte(s, '\\') >= 0 || len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	// A string ends at the next quote: {"k":"v","k":"v"}
	text := func() (out string, ok bool) {
		if len(s) == 0 || s[0] != '"' {
			return "", false
		}
		n := strings.IndexByte(s[1:], '"')
		if n < 0 {
			return "", false
		}
		out, s = s[1:1+n], s[n+2:]
		return out, true
	}
	for s = s[1 : len(s)-1]; len(s) > 0; {
		k, ok := text()
		if !ok || len(s) == 0 || s[0] != ':' {
			return nil, false
		}
		s = s[1:]
		v, ok := text()
		if !ok || len(s) > 0 && s[0] != ',' {
			return nil, false
		}
		p = append(p, message.Property{Key: k, Value: v})
		if len(s) > 0 {
			s = s[1:]
		}
	}
	return p, true
}
