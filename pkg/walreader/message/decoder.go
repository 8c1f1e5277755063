package message

import (
	"encoding/base64"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Decoder fills in the envelope fields of messages of one log. It interns
// vchannel names and keeps scratch space, so the common path allocates nothing.
// It is not safe for concurrent use. The zero value is ready.
type Decoder struct {
	vchannels map[string]string
	in, out   []byte
}

// maxHeader caps a header property before its base64 is decoded, in characters.
const maxHeader = 16 << 20

// Decode reads m.Props (which must be sorted) into the envelope fields. m.ID
// must be set: its backend tells how `_lc` is spelled. It never fails and never
// panics: what is wrong stands in m.Defects, everything else is decoded.
func (d *Decoder) Decode(m *Message) {
	m.PayloadSize = max(m.PayloadSize, int64(len(m.Payload)))
	header, hasHeader := "", false
	for i := range m.Props {
		key, v := m.Props[i].Key, m.Props[i].Value
		switch key {
		case KeyVersion:
			d.version(m, v)
		case KeyType:
			t, err := strconv.ParseInt(v, 10, 32)
			if err != nil || t < 0 || t > 0xffff {
				m.defect(KeyType, "not a message type: "+clip(v), false)
			} else {
				m.Type = Type(t)
			}
		case KeyTimeTick:
			m.TimeTick = m.base36(KeyTimeTick, v, HasTimeTick)
		case KeyBarrier:
			m.Barrier = m.base36(KeyBarrier, v, HasBarrier)
		case KeyTerm:
			t, err := strconv.ParseInt(v, 36, 64)
			if err != nil {
				m.defect(KeyTerm, "not base36: "+clip(v), false)
			} else {
				m.Term, m.Flags = t, m.Flags|HasTerm
			}
		case KeyLastConfirmed:
			d.lastConfirmed(m, v)
		case KeyLastConfirmedSelf:
			m.Flags |= LastConfirmedSelf
		case KeyVChannel:
			m.VChannel, m.Flags = d.intern(v), m.Flags|HasVChannel
		case KeyHeader:
			header, hasHeader = v, true
			m.Flags |= HasHeader
		case KeyTxn:
			d.txn(m, v)
		case KeyBroadcast:
			m.Flags |= HasBroadcast
			d.broadcast(m, v)
		case KeyReplicate:
			m.Flags |= HasReplicate
		case KeyCipher:
			m.Flags |= HasCipher
		case KeyNotPersisted:
			m.Flags |= NotPersisted
		case KeyPChannelLevel:
			m.Flags |= PChannelLevel
		case KeyUnsafeReplicate:
			m.Flags |= UnsafeReplicate
		case KeyPartialUpdate:
			m.Flags |= PartialUpdate
		default:
			m.Flags |= HasOtherProps
		}
	}
	d.finish(m, header, hasHeader)
}

func (d *Decoder) finish(m *Message, header string, hasHeader bool) {
	if m.Has(LastConfirmedSelf) {
		m.LastConfirmed, m.lcForm = m.ID, m.form
	}
	if m.Version == 0 {
		return // V0 has properties of its own: v0.go
	}
	if !m.Has(HasTimeTick) {
		if _, present := m.Props.Get(KeyTimeTick); !present {
			m.defect(KeyTimeTick, "missing", true)
		}
	}
	if m.Flags&(HasLastConfirmed|LastConfirmedSelf) == 0 {
		if _, present := m.Props.Get(KeyLastConfirmed); !present {
			m.defect(KeyLastConfirmed, "missing, and no "+KeyLastConfirmedSelf, true)
		}
	}
	if m.Has(HasBroadcast) && !m.Has(HasVChannel) {
		m.defect(KeyVChannel, "missing on a broadcast message", true)
	}
	if hasHeader {
		d.header(m, header)
	} else if m.Type.Known() {
		m.defect(KeyHeader, "missing", false)
	}
}

func (d *Decoder) version(m *Message, v string) {
	if v == "" {
		return
	}
	n, err := strconv.ParseInt(v, 10, 8)
	if err != nil || n < 0 {
		m.defect(KeyVersion, "not a version: "+clip(v), true)
		return
	}
	m.Version = int8(n)
	if n > 2 {
		m.defect(KeyVersion, "unknown version "+clip(v), false)
	}
}

func (d *Decoder) lastConfirmed(m *Message, v string) {
	id, form, err := ParseRaw(m.ID.Backend, v)
	if err != nil {
		m.defect(KeyLastConfirmed, err.Error(), true)
		return
	}
	m.SetRawLastConfirmed(id, form, v)
	m.Flags |= HasLastConfirmed
}

func (d *Decoder) txn(m *Message, v string) {
	b, ok := d.base64(v)
	ok = ok && fields(b, func(n protowire.Number, x uint64, _ []byte) bool {
		switch n {
		case 1:
			m.TxnID = int64(x)
		case 2:
			m.Keepalive = int64(x)
		}
		return true
	})
	if !ok {
		m.defect(KeyTxn, "not a TxnContext", true)
		return
	}
	m.Flags |= HasTxn
}

func (d *Decoder) broadcast(m *Message, v string) {
	b, ok := d.base64(v)
	ok = ok && fields(b, func(n protowire.Number, x uint64, _ []byte) bool {
		if n == 1 {
			m.BroadcastID = x
		}
		return true
	})
	if !ok {
		m.defect(KeyBroadcast, "not a BroadcastHeader", true)
	}
}

// header reads the fields a log's statistics and replay ask for. An empty
// header is a valid empty protobuf.
func (d *Decoder) header(m *Message, v string) {
	b, ok := d.base64(v)
	if ok {
		switch m.Type {
		case TypeInsert:
			ok = m.insertHeader(b)
		case TypeDelete:
			ok = fields(b, func(n protowire.Number, x uint64, _ []byte) bool {
				switch n {
				case 1:
					m.Collection = int64(x)
				case 2:
					m.Rows = x
				}
				return true
			})
		case TypeFlush, TypeCreateSegment:
			ok = m.collectionHeader(b, 3)
		case TypeCreatePartition, TypeDropPartition:
			ok = m.collectionHeader(b, 2)
		case TypeCreateCollection, TypeDropCollection, TypeManualFlush, TypeSchemaChange, TypeCommitImport, TypeRollbackImport:
			ok = m.collectionHeader(b, 1)
		case TypeAlterCollection, TypeTruncateCollection:
			ok = fields(b, func(n protowire.Number, x uint64, _ []byte) bool {
				if n == 2 {
					m.Collection = int64(x)
				}
				return true
			})
		}
	}
	if !ok {
		m.defect(KeyHeader, "not a header of "+m.Type.String(), false)
	}
}

// collectionHeader reads the first n of {collection, partition, segment}.
func (m *Message) collectionHeader(b []byte, n protowire.Number) bool {
	return fields(b, func(num protowire.Number, x uint64, _ []byte) bool {
		switch {
		case num == 1:
			m.Collection = int64(x)
		case num == 2 && n >= 2:
			m.Partition = int64(x)
		case num == 3 && n >= 3:
			m.Segment = int64(x)
		}
		return true
	})
}

// insertHeader sums rows and bytes over the partitions; exactly one today.
func (m *Message) insertHeader(b []byte) bool {
	partitions := 0
	return fields(b, func(n protowire.Number, x uint64, v []byte) bool {
		switch n {
		case 1:
			m.Collection = int64(x)
		case 2:
			if partitions++; partitions > 1 {
				m.Flags |= ManyPartitions
			}
			return fields(v, func(n protowire.Number, x uint64, v []byte) bool {
				switch n {
				case 1:
					m.Partition = int64(x)
				case 2:
					m.Rows += x
				case 3:
					m.BinarySize += x
				case 4:
					return fields(v, func(n protowire.Number, x uint64, _ []byte) bool {
						if n == 1 {
							m.Segment = int64(x)
						}
						return true
					})
				}
				return true
			})
		}
		return true
	})
}

// fields walks a protobuf message: varints come in x, bytes in v. It reports
// false where the bytes are no protobuf message or fn refuses.
func fields(b []byte, fn func(n protowire.Number, x uint64, v []byte) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var x uint64
		var v []byte
		switch typ {
		case protowire.VarintType:
			x, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 || !fn(num, x, v) {
			return false
		}
		b = b[n:]
	}
	return true
}

func (d *Decoder) base64(v string) ([]byte, bool) {
	if len(v) > maxHeader {
		return nil, false
	}
	var err error
	d.in = append(d.in[:0], v...)
	d.out, err = base64.StdEncoding.AppendDecode(d.out[:0], d.in)
	return d.out, err == nil
}

func (d *Decoder) intern(v string) string {
	if s, ok := d.vchannels[v]; ok {
		return s
	}
	if d.vchannels == nil {
		d.vchannels = make(map[string]string)
	}
	v = strings.Clone(v)          // properties may lie in a buffer that is used again
	if len(d.vchannels) < 1<<16 { // a hostile log must not grow it without bound
		d.vchannels[v] = v
	}
	return v
}

func (m *Message) base36(key, v string, f Flags) uint64 {
	n, err := strconv.ParseUint(v, 36, 64)
	if err != nil {
		m.defect(key, "not base36: "+clip(v), true)
		return 0
	}
	m.Flags |= f
	return n
}

func (m *Message) defect(property, cause string, fatal bool) {
	m.Defects = append(m.Defects, Defect{Property: property, Cause: cause, Fatal: fatal})
}

// clip keeps a hostile value from filling an error.
func clip(v string) string {
	if len(v) > 40 {
		v = v[:40] + "…"
	}
	return strconv.Quote(v)
}
