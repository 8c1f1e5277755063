package message

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Decoder fills in the envelope fields of messages of one log. It interns
// vchannel names and keeps scratch space, so the common path allocates nothing.
// It is not safe for concurrent use. The zero value is ready.
type Decoder struct {
	// PChannel is the log's pchannel where it is known. Only a CreateCollection
	// of version 0 needs it, to tell which of its vchannels is meant.
	PChannel string

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
			m.messageType(v)
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
			d.replicate(m, v)
		case KeyCipher:
			m.Flags |= HasCipher
			if b, ok := d.base64(v); !ok || !valid(b) {
				m.defect(KeyCipher, "not a CipherHeader", true)
			}
		case KeyNotPersisted:
			m.Flags |= NotPersisted
			m.defect(KeyNotPersisted, "present on a message that was persisted", false)
		case KeyPChannelLevel:
			m.Flags |= PChannelLevel
		case KeyUnsafeReplicate:
			m.Flags |= UnsafeReplicate
		case KeyPartialUpdate:
			m.Flags |= PartialUpdate
		default: // KeyChunkIndex and KeyChunkTotal too: see finish
			m.Flags |= HasOtherProps
		}
	}
	d.finish(m, header, hasHeader)
}

// finish checks what only the properties together tell.
func (d *Decoder) finish(m *Message, header string, hasHeader bool) {
	if m.Version == 0 {
		d.legacy(m)
	}
	if m.Has(LastConfirmedSelf) {
		m.LastConfirmed, m.lcForm = m.ID, m.form
		if _, both := m.Props.Get(KeyLastConfirmed); both {
			m.defect(KeyLastConfirmedSelf, "stands beside "+KeyLastConfirmed, false)
		}
	}
	if hasHeader {
		d.header(m, header)
	}
	if m.Has(HasOtherProps) {
		m.chunk()
	}
	if m.Has(ChunkRest) {
		m.Rows, m.BinarySize = 0, 0 // every record of the message repeats its header
	}
	if m.Version == 0 {
		return
	}
	if m.Flags&(HasTimeTick|HasLastConfirmed) != HasTimeTick|HasLastConfirmed {
		m.missing()
	}
	if m.Has(HasBroadcast) && !m.Has(HasVChannel) {
		m.defect(KeyVChannel, "missing on a broadcast message", true)
	}
	if !hasHeader && m.Type.Known() {
		m.defect(KeyHeader, "missing", false)
	}
}

// missing reports the properties every message needs; one that is there but
// cannot be read has its defect already.
func (m *Message) missing() {
	if _, present := m.Props.Get(KeyTimeTick); !present {
		m.defect(KeyTimeTick, "missing", true)
	}
	if _, present := m.Props.Get(KeyLastConfirmed); !present && !m.Has(LastConfirmedSelf) {
		m.defect(KeyLastConfirmed, "missing, and no "+KeyLastConfirmedSelf, true)
	}
}

func (m *Message) messageType(v string) {
	t, err := strconv.ParseInt(v, 10, 32)
	switch {
	case err != nil || t < 0 || t > math.MaxUint16:
		m.defect(KeyType, "not a message type: "+clip(v), false)
		return
	case Type(t) == TypeTxn:
		m.defect(KeyType, "Txn, which exists only after a scanner", false)
	}
	m.Type = Type(t)
}

func (d *Decoder) version(m *Message, v string) {
	if v == "" {
		return
	}
	n, err := strconv.ParseInt(v, 10, 64)
	switch {
	case err != nil:
		m.defect(KeyVersion, "not a version: "+clip(v), true)
		n = math.MaxInt8 // keep the message out of what is done for version 0
	case n < 0 || n > 2:
		m.defect(KeyVersion, "unknown version "+clip(v), false)
	}
	if m.Version = int8(n); n < 0 || n > math.MaxInt8 {
		m.Version = math.MaxInt8
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
	ok = ok && Fields(b, func(n protowire.Number, x uint64) {
		switch n {
		case 1:
			m.TxnID = int64(x)
		case 2:
			m.Keepalive = int64(x)
		}
	}, nil)
	if !ok {
		m.defect(KeyTxn, "not a TxnContext", true)
		return
	}
	m.Flags |= HasTxn
}

func (d *Decoder) broadcast(m *Message, v string) {
	b, ok := d.base64(v)
	ok = ok && Fields(b, func(n protowire.Number, x uint64) {
		if n == 1 {
			m.BroadcastID = x
		}
	}, func(n protowire.Number, v []byte) bool {
		switch n {
		case 2:
			return utf8.Valid(v)
		case 3: // a resource key
			return Fields(v, nil, func(n protowire.Number, v []byte) bool { return n != 2 || utf8.Valid(v) })
		}
		return true
	})
	if !ok {
		m.defect(KeyBroadcast, "not a BroadcastHeader", true)
	}
}

// replicate checks what a secondary would panic on: the header itself and both
// ids in it, which name their own backend. The header is decoded when asked for.
func (d *Decoder) replicate(m *Message, v string) {
	b, ok := d.base64(v)
	ok = ok && Fields(b, nil, func(n protowire.Number, v []byte) bool {
		switch n {
		case 1, 5:
			return utf8.Valid(v)
		case 2, 3:
			return validID(v)
		}
		return true
	})
	if !ok {
		m.defect(KeyReplicate, "not a ReplicateHeader", true)
	}
}

// validID checks a commonpb.MessageID. One of unknown backend means the
// reader's default, so nothing can be said of it.
func validID(b []byte) bool {
	var raw []byte
	backend := BackendUnknown
	ok := Fields(b, func(n protowire.Number, x uint64) {
		if n == 2 {
			backend = Backend(x)
		}
	}, func(n protowire.Number, v []byte) bool {
		if n == 1 {
			raw = v
			return utf8.Valid(v)
		}
		return true
	})
	if !ok || backend == BackendUnknown {
		return ok
	}
	_, _, err := ParseRaw(backend, string(raw))
	return err == nil
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
			ok = Fields(b, func(n protowire.Number, x uint64) {
				switch n {
				case 1:
					m.Collection = int64(x)
				case 2:
					m.Rows = x
				}
			}, nil)
		default:
			ok = m.headerIDs(b)
		}
	}
	if !ok {
		m.defect(KeyHeader, "not a header of "+m.Type.String(), false)
	}
}

// headerIDs reads which collection, partition and segment a header names.
func (m *Message) headerIDs(b []byte) bool {
	i := m.Type.info()
	if i == nil || i.ids == (ids{}) {
		return valid(b)
	}
	return Fields(b, func(n protowire.Number, x uint64) {
		switch n {
		case i.ids[0]:
			m.Collection = int64(x)
		case i.ids[1]:
			m.Partition = int64(x)
		case i.ids[2]:
			m.Segment = int64(x)
		}
	}, nil)
}

// insertHeader sums rows and bytes over the partitions; exactly one today.
func (m *Message) insertHeader(b []byte) bool {
	partitions := 0
	return Fields(b, func(n protowire.Number, x uint64) {
		if n == 1 {
			m.Collection = int64(x)
		}
	}, func(n protowire.Number, v []byte) bool {
		if n != 2 {
			return true
		}
		if partitions++; partitions > 1 {
			m.Flags |= ManyPartitions
		}
		return m.insertPartition(v)
	})
}

func (m *Message) insertPartition(b []byte) bool {
	var rows, size uint64
	ok := Fields(b, func(n protowire.Number, x uint64) {
		switch n {
		case 1:
			m.Partition = int64(x)
		case 2:
			rows = x
		case 3:
			size = x
		}
	}, func(n protowire.Number, v []byte) bool {
		return n != 4 || Fields(v, func(n protowire.Number, x uint64) {
			if n == 1 {
				m.Segment = int64(x)
			}
		}, nil)
	})
	m.Rows, m.BinarySize = m.Rows+rows, m.BinarySize+size
	return ok
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
