package archive

import (
	"fmt"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// block is one block's columns, decoded. Its memory is used again.
type block struct {
	message.Columns
	out     message.Columns // the rows of them that are in range, for whoever asked
	p       part
	backend message.Backend
	names   *names

	ordinal                   []int64
	partition, lcPart, lcSize []int32
	canonical                 []int32
	header, properties, extra texts
	haveForms, haveTexts      bool
	whole                     bool // every column was loaded
	j                         joiner
}

// texts is a byte-array column: row i is data[ends[i−1]:ends[i]].
type texts struct {
	ends []int32
	data []byte
}

func (t *texts) at(i int) []byte {
	from := int32(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.data[from:t.ends[i]:t.ends[i]]
}

// names is the dictionary of vchannels that a reader's blocks share. It only grows.
type names struct {
	index map[string]uint32
	list  []string
}

func newNames() *names { return &names{index: map[string]uint32{"": 0}, list: []string{""}} }

func (n *names) intern(s string) uint32 {
	k, ok := n.index[s]
	if !ok {
		k = uint32(len(n.list))
		n.index[s] = k
		n.list = append(n.list, s)
	}
	return k
}

func newBlock(backend message.Backend, n *names) *block {
	b := &block{backend: backend, names: n}
	b.VChannels = n.list
	return b
}

// ints decodes one column into *dst.
func ints[T columnfile.Integer](b *block, err *error, col int, dst *[]T) {
	if *err == nil {
		var out []T
		if out, *err = columnfile.Ints(b.p.f, b.p.b, col, *dst); *err == nil {
			*dst = out
		}
	}
}

// bookkeeping are the columns no property is put together from: a message of
// Columns.Full has them where they were asked for.
const bookkeeping = message.ColumnBroadcastID | message.ColumnPayloadSize | message.ColumnPublishTime

// load decodes the fields asked for of a block.
func (b *block) load(p part, set message.ColumnSet) error {
	if set&message.ColumnFull != 0 {
		set |= message.AllColumns &^ bookkeeping
	}
	b.p, b.N, b.Backend, b.haveForms, b.haveTexts = p, p.hi-p.lo, b.backend, false, false
	b.Full, b.whole = nil, set|bookkeeping == message.AllColumns
	var err error
	want := func(c message.ColumnSet) bool { return set&c != 0 && err == nil }
	if want(message.ColumnID) {
		ints(b, &err, colA, &b.A)
		ints(b, &err, colB, &b.B)
		ints(b, &err, colBatch, &b.Batch)
	}
	if want(message.ColumnBatchSize) {
		ints(b, &err, colBatchSize, &b.BatchSize)
	}
	if want(message.ColumnVersion) {
		ints(b, &err, colVersion, &b.Version)
	}
	if want(message.ColumnType) {
		ints(b, &err, colType, &b.Type)
	}
	if want(message.ColumnFlags) {
		ints(b, &err, colFlags, &b.Flags)
	}
	if want(message.ColumnTimeTick) {
		ints(b, &err, colTimeTick, &b.TimeTick)
	}
	if want(message.ColumnBarrier) {
		ints(b, &err, colBarrier, &b.Barrier)
	}
	if want(message.ColumnTerm) {
		ints(b, &err, colTerm, &b.Term)
	}
	if want(message.ColumnVChannel) {
		var v []uint32
		if v, err = p.f.Texts(p.b, colVChannel, b.VChannel, b.names.intern); err == nil {
			b.VChannel, b.VChannels = v, b.names.list
		}
	}
	b.loadCounts(&err, want)
	if err == nil {
		ints(b, &err, colOrdinal, &b.ordinal)
	}
	if err == nil {
		b.Ordinal = b.ordinal[p.lo]
	}
	if want(message.ColumnFull | message.ColumnDefects) {
		ints(b, &err, colCanonical, &b.canonical)
	}
	return err
}

// loadRest brings what a message is built from beyond what was loaded.
func (b *block) loadRest() error {
	if !b.whole {
		if err := b.load(b.p, message.AllColumns); err != nil {
			return err
		}
	}
	if err := b.loadForms(); err != nil {
		return err
	}
	return b.loadTexts()
}

func (b *block) loadCounts(err *error, want func(message.ColumnSet) bool) {
	if want(message.ColumnCollection) {
		ints(b, err, colCollection, &b.Collection)
	}
	if want(message.ColumnPartition) {
		ints(b, err, colPartition, &b.Partition)
	}
	if want(message.ColumnSegment) {
		ints(b, err, colSegment, &b.Segment)
	}
	if want(message.ColumnRows) {
		ints(b, err, colRows, &b.Rows)
	}
	if want(message.ColumnBinarySize) {
		ints(b, err, colBinarySize, &b.BinarySize)
	}
	if want(message.ColumnLastConfirmed) {
		ints(b, err, colLCA, &b.LCA)
		ints(b, err, colLCB, &b.LCB)
		ints(b, err, colLCBatch, &b.LCBatch)
	}
	if want(message.ColumnTxn) {
		ints(b, err, colTxnID, &b.TxnID)
		ints(b, err, colKeepalive, &b.Keepalive)
	}
	if want(message.ColumnBroadcastID) {
		ints(b, err, colBroadcastID, &b.BroadcastID)
	}
	if want(message.ColumnPayloadSize) {
		ints(b, err, colPayloadSize, &b.PayloadSize)
	}
	if want(message.ColumnPublishTime) {
		ints(b, err, colPublishTime, &b.PublishTime)
	}
	if want(message.ColumnChecksum) {
		ints(b, err, colChecksum, &b.Checksum)
	}
}

// loadForms brings what ids are spelled with.
func (b *block) loadForms() error {
	if b.haveForms {
		return nil
	}
	var err error
	ints(b, &err, colPartitionIndex, &b.partition)
	ints(b, &err, colLCPartitionIndex, &b.lcPart)
	ints(b, &err, colLCBatchSize, &b.lcSize)
	b.haveForms = err == nil
	return err
}

// loadTexts brings what properties are put together from.
func (b *block) loadTexts() error {
	if b.haveTexts {
		return nil
	}
	for _, t := range []struct {
		col int
		dst *texts
	}{{colHeader, &b.header}, {colProperties, &b.properties}, {colExtra, &b.extra}} {
		var err error
		if t.dst.ends, t.dst.data, err = b.p.f.Bytes(b.p.b, t.col, t.dst.ends, t.dst.data); err != nil {
			return err
		}
	}
	b.haveTexts = true
	return nil
}

// needsFull is message.NeedsFull for a row.
func (b *block) needsFull(i int) bool {
	return message.NeedsFull(b.Type[i], b.Flags[i], b.hasDefect(i))
}

// inFull is message.InFull for a row.
func (b *block) inFull(i int) bool { return message.InFull(b.Type[i], b.Flags[i], b.hasDefect(i)) }

func (b *block) hasDefect(i int) bool { return b.canonical[i]&bitDefect != 0 }

// fill sets a message's fields but for properties and payload. All columns and
// the forms must be loaded.
func (b *block) fill(m *message.Message, i int) {
	m.Ordinal = b.ordinal[i]
	m.SetID(message.ID{Backend: b.backend, A: b.A[i], B: b.B[i], Batch: b.Batch[i]},
		message.Form{Partition: b.partition[i], BatchSize: b.BatchSize[i]})
	m.Version, m.Type, m.Flags = b.Version[i], b.Type[i], b.Flags[i]
	m.TimeTick, m.Barrier, m.Term = b.TimeTick[i], b.Barrier[i], b.Term[i]
	m.VChannel = b.VChannels[b.VChannel[i]]
	if m.Flags&(message.HasLastConfirmed|message.LastConfirmedSelf) != 0 {
		m.SetLastConfirmed(message.ID{Backend: b.backend, A: b.LCA[i], B: b.LCB[i], Batch: b.LCBatch[i]},
			message.Form{Partition: b.lcPart[i], BatchSize: b.lcSize[i]})
	}
	m.TxnID, m.Keepalive = b.TxnID[i], b.Keepalive[i]
	m.Collection, m.Partition, m.Segment = b.Collection[i], b.Columns.Partition[i], b.Segment[i]
	m.Rows, m.BinarySize = b.Rows[i], b.BinarySize[i]
	m.Checksum = b.Checksum[i]
	if i < len(b.BroadcastID) {
		m.BroadcastID = b.BroadcastID[i]
	}
	if i < len(b.PayloadSize) {
		m.PayloadSize = b.PayloadSize[i]
	}
	if i < len(b.PublishTime) {
		m.PublishTime = b.PublishTime[i]
	}
}

// join sets a message's properties.
func (b *block) join(m *message.Message, i int) error {
	if err := b.j.join(m, int64(b.canonical[i]), b.header.at(i), b.properties.at(i), b.extra.at(i)); err != nil {
		return fmt.Errorf("%w: row %d: %w", ErrDamaged, b.p.row+int64(i), err)
	}
	return nil
}

// private reports that a row's header is whole in the payload file only.
func (b *block) private(i int) bool { return b.canonical[i]&bitPrivateHeader != 0 }
