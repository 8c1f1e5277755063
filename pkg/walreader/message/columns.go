package message

// Columns is a run of consecutive messages as columns: what statistics, verify
// and timetick read, so that a question over fifty million records touches no
// object a record. Every slice has length N. A reader reuses it between calls.
type Columns struct {
	N       int
	Ordinal int64 // of the first row
	Backend Backend

	A, B  []int64
	Batch []int32
	// BatchSize is the number of messages in the row's Pulsar entry as its id
	// tells it; 0 = not told. A reader that does not keep it leaves the slice nil.
	BatchSize []int32

	Version                        []int8
	Type                           []Type
	Flags                          []Flags
	TimeTick, Barrier              []uint64
	Term                           []int64  // 0 where Flags lack HasTerm
	VChannel                       []uint32 // index into VChannels; 0 is always ""
	Collection, Partition, Segment []int64
	Rows, BinarySize               []uint64
	LCA, LCB                       []int64
	LCBatch                        []int32
	TxnID, Keepalive               []int64
	BroadcastID                    []uint64
	PayloadSize                    []int64
	PublishTime                    []int64 // Unix milliseconds
	Checksum                       []uint64

	// VChannels is the reader's dictionary. It only grows, so an index stays
	// valid as long as the reader lives and can index per-vchannel state.
	VChannels []string

	// Full holds, by row, the messages whose header or broadcast, replicate or
	// cipher property a check may ask for: those of which InFull is true. Their
	// payload may be missing, and of BroadcastID, PayloadSize and PublishTime what
	// was not asked for.
	Full map[int]*Message
}

// ColumnSet names fields of Columns to read. Fields not asked for may come back
// empty: an archive decodes no page of theirs.
type ColumnSet uint32

// The fields of Columns a reader can be asked for. Ordinal and VChannels always
// come.
const (
	ColumnID ColumnSet = 1 << iota // A, B, Batch
	ColumnBatchSize
	ColumnVersion
	ColumnType
	ColumnFlags
	ColumnTimeTick
	ColumnBarrier
	ColumnTerm
	ColumnVChannel
	ColumnCollection
	ColumnPartition
	ColumnSegment
	ColumnRows
	ColumnBinarySize
	ColumnLastConfirmed // LCA, LCB, LCBatch
	ColumnTxn           // TxnID, Keepalive
	ColumnBroadcastID
	ColumnPayloadSize
	ColumnPublishTime
	ColumnChecksum
	ColumnFull
	ColumnDefects // of Full, at least the rows with Defects
	// AllColumns is every field.
	AllColumns ColumnSet = 1<<iota - 1
)

// ID returns row i's position.
func (c *Columns) ID(i int) ID {
	return ID{Backend: c.Backend, A: c.A[i], B: c.B[i], Batch: c.Batch[i]}
}

// LastConfirmed returns row i's last confirmed position.
func (c *Columns) LastConfirmed(i int) ID {
	return ID{Backend: c.Backend, A: c.LCA[i], B: c.LCB[i], Batch: c.LCBatch[i]}
}

// NeedsFull reports whether a check may ask for this message's properties: a
// reader brings them unasked.
func (m *Message) NeedsFull() bool { return NeedsFull(m.Type, m.Flags, len(m.Defects) > 0) }

// NeedsFull is Message.NeedsFull for a reader that has a message's columns only.
func NeedsFull(t Type, f Flags, defective bool) bool {
	return !t.Hot() || f&(HasBroadcast|HasReplicate|HasCipher|HasOtherProps|ManyPartitions) != 0 || defective
}

// InFull reports whether a row of this message stands in Columns.Full: all that
// NeedsFull but a new segment that carries nothing odd, of which a log has many.
func (m *Message) InFull() bool { return InFull(m.Type, m.Flags, len(m.Defects) > 0) }

// InFull is Message.InFull for a reader that has a message's columns only.
func InFull(t Type, f Flags, defective bool) bool {
	return NeedsFull(t, f, defective) && (t != TypeCreateSegment || f&^PlainFlags != 0 || defective)
}

// PlainFlags are those of an ordinary message of a vchannel.
const PlainFlags = HasTimeTick | HasTerm | HasLastConfirmed | HasVChannel | HasHeader

// Reset empties the columns and keeps their memory and dictionary.
func (c *Columns) Reset() {
	v := c.VChannels
	*c = Columns{
		A: c.A[:0], B: c.B[:0], Batch: c.Batch[:0], BatchSize: c.BatchSize[:0], Version: c.Version[:0], Type: c.Type[:0], Flags: c.Flags[:0],
		TimeTick: c.TimeTick[:0], Barrier: c.Barrier[:0], Term: c.Term[:0], VChannel: c.VChannel[:0],
		Collection: c.Collection[:0], Partition: c.Partition[:0], Segment: c.Segment[:0],
		Rows: c.Rows[:0], BinarySize: c.BinarySize[:0], LCA: c.LCA[:0], LCB: c.LCB[:0], LCBatch: c.LCBatch[:0],
		TxnID: c.TxnID[:0], Keepalive: c.Keepalive[:0], BroadcastID: c.BroadcastID[:0],
		PayloadSize: c.PayloadSize[:0], PublishTime: c.PublishTime[:0], Checksum: c.Checksum[:0],
		VChannels: v,
	}
}

// Append adds a message as the last row; vchannel is its index in VChannels.
func (c *Columns) Append(m *Message, vchannel uint32) {
	if c.N == 0 {
		c.Ordinal, c.Backend = m.Ordinal, m.ID.Backend
	}
	c.A, c.B, c.Batch = append(c.A, m.ID.A), append(c.B, m.ID.B), append(c.Batch, m.ID.Batch)
	c.BatchSize = append(c.BatchSize, m.form.BatchSize)
	c.Version, c.Type, c.Flags = append(c.Version, m.Version), append(c.Type, m.Type), append(c.Flags, m.Flags)
	c.TimeTick, c.Barrier = append(c.TimeTick, m.TimeTick), append(c.Barrier, m.Barrier)
	c.Term, c.VChannel = append(c.Term, m.Term), append(c.VChannel, vchannel)
	c.Collection, c.Partition = append(c.Collection, m.Collection), append(c.Partition, m.Partition)
	c.Segment = append(c.Segment, m.Segment)
	c.Rows, c.BinarySize = append(c.Rows, m.Rows), append(c.BinarySize, m.BinarySize)
	c.LCA, c.LCB = append(c.LCA, m.LastConfirmed.A), append(c.LCB, m.LastConfirmed.B)
	c.LCBatch = append(c.LCBatch, m.LastConfirmed.Batch)
	c.TxnID, c.Keepalive = append(c.TxnID, m.TxnID), append(c.Keepalive, m.Keepalive)
	c.BroadcastID = append(c.BroadcastID, m.BroadcastID)
	c.PayloadSize, c.PublishTime = append(c.PayloadSize, m.PayloadSize), append(c.PublishTime, m.PublishTime)
	c.Checksum = append(c.Checksum, m.Checksum)
	if m.InFull() {
		if c.Full == nil {
			c.Full = make(map[int]*Message)
		}
		c.Full[c.N] = m
	}
	c.N++
}
