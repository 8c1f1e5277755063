package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// createdBy stands in the footer of every file.
const createdBy = "walctl"

// The footer keys that say what log a file without a manifest belongs to.
const (
	metaPChannel = "walctl.pchannel"
	metaBackend  = "walctl.backend"
)

// segmentWriter writes one segment's two files under temporary names.
type segmentWriter struct {
	fsys           FS
	pchannel       string
	s              splitter
	index, payload *openFile
	seg            Segment
	behind         uint64 // newest persisted TimeTick
	stored         int64  // payload bytes taken
}

type openFile struct {
	name string // temporary
	f    File
	buf  *bufio.Writer
	w    *columnfile.Writer
}

func createColumns(fsys FS, name string, m *Manifest, cols []columnfile.Column) (*openFile, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	w, err := columnfile.NewWriter(buf, cols, columnfile.Options{CreatedBy: createdBy,
		Meta: map[string]string{metaPChannel: m.PChannel, metaBackend: strconv.Itoa(int(m.Backend))}})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openFile{name, f, buf, w}, nil
}

// finish completes the file and makes its bytes durable.
func (o *openFile) finish() (columnfile.Summary, error) {
	sum, err := o.w.Close()
	if err == nil {
		err = o.buf.Flush()
	}
	if err == nil {
		err = o.f.Sync()
	}
	return sum, errors.Join(err, o.f.Close())
}

func newSegmentWriter(fsys FS, m *Manifest) (*segmentWriter, error) {
	s := &segmentWriter{fsys: fsys, pchannel: m.PChannel, s: splitter{backend: m.Backend}}
	s.seg.MinTimeTick = math.MaxUint64
	if n := len(m.Segments); n > 0 {
		s.behind = m.Segments[n-1].TimeTick
	}
	var err error
	if s.index, err = createColumns(fsys, indexDir(m.PChannel)+"/open.tmp", m, indexColumns[:]); err != nil {
		return nil, fmt.Errorf("creating an index file: %w", err)
	}
	if s.payload, err = createColumns(fsys, payloadDir(m.PChannel)+"/open.tmp", m, payloadColumns[:]); err != nil {
		s.abandon()
		return nil, fmt.Errorf("creating a payload file: %w", err)
	}
	return s, nil
}

// abandon closes what is open. The files stay, unnamed, for the next capture to
// clear away.
func (s *segmentWriter) abandon() {
	for _, o := range []*openFile{s.index, s.payload} {
		if o != nil {
			_ = o.f.Close() // its bytes are given up
		}
	}
}

// add appends a message. It needs its properties and payload.
func (s *segmentWriter) add(m *message.Message, ordinal int64) error {
	if err := s.s.split(m); err != nil {
		return err
	}
	s.note(m, ordinal)
	w := s.index.w
	s.addPlace(w, m, ordinal)
	w.Int(colType, int64(m.Type))
	w.Int(colVersion, int64(m.Version))
	w.Text(colVChannel, m.VChannel)
	w.Int(colCollection, m.Collection)
	w.Int(colPartition, m.Partition)
	w.Int(colSegment, m.Segment)
	w.Int(colRows, int64(m.Rows))
	w.Int(colBinarySize, int64(m.BinarySize))
	w.Int(colTxnID, m.TxnID)
	w.Int(colKeepalive, m.Keepalive)
	w.Int(colBroadcastID, int64(m.BroadcastID))
	w.Int(colFlags, int64(m.Flags))
	behind := int64(0)
	if m.Has(message.HasTimeTick) && m.TimeTick < s.behind {
		behind = 1
	}
	w.Int(colBehind, behind)
	if m.Type == message.TypeTimeTick && m.Has(message.HasTimeTick) {
		s.behind = m.TimeTick // also when it is smaller: a reader drops by the one it read last
	}
	w.Int(colPayloadSize, m.PayloadSize)
	w.Int(colPublishTime, m.PublishTime)
	sum := m.Checksum
	if sum == 0 {
		sum = message.ComputeChecksum(m.Props, m.Payload)
	}
	w.Int(colChecksum, int64(sum))
	w.Int(colCanonical, s.s.canonical)
	w.Bytes(colHeader, s.s.header)
	w.Bytes(colProperties, s.s.properties)
	w.Bytes(colExtra, s.s.extra)
	if err := w.EndRow(); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return s.addPayload(m, ordinal)
}

func (s *segmentWriter) addPlace(w *columnfile.Writer, m *message.Message, ordinal int64) {
	form, lc, lcForm := m.Form(), m.LastConfirmed, m.LastConfirmedForm()
	w.Int(colOrdinal, ordinal)
	w.Int(colA, m.ID.A)
	w.Int(colB, m.ID.B)
	w.Int(colBatch, int64(m.ID.Batch))
	w.Int(colPartitionIndex, int64(form.Partition))
	w.Int(colBatchSize, int64(form.BatchSize))
	w.Int(colTimeTick, int64(m.TimeTick))
	w.Int(colTime, message.PhysicalMillis(m.TimeTick))
	w.Int(colBarrier, int64(m.Barrier))
	w.Int(colTerm, m.Term)
	w.Int(colLCA, lc.A)
	w.Int(colLCB, lc.B)
	w.Int(colLCBatch, int64(lc.Batch))
	w.Int(colLCPartitionIndex, int64(lcForm.Partition))
	w.Int(colLCBatchSize, int64(lcForm.BatchSize))
}

func (s *segmentWriter) addPayload(m *message.Message, ordinal int64) error {
	w := s.payload.w
	data, ddl := m.Payload, []byte(nil)
	if m.Type.PayloadRead() {
		data, ddl = nil, m.Payload
	}
	w.Int(payOrdinal, ordinal)
	w.Bytes(payData, data)
	w.Bytes(payDDL, s.s.withPrivate(ddl))
	s.stored += int64(len(m.Payload))
	if err := w.EndRow(); err != nil {
		return fmt.Errorf("writing the payload: %w", err)
	}
	return nil
}

func (s *segmentWriter) note(m *message.Message, ordinal int64) {
	p := Position{A: m.ID.A, B: m.ID.B, Batch: m.ID.Batch, Ordinal: ordinal}
	if s.seg.Rows == 0 {
		s.seg.First, s.seg.Sorted = p, true
	} else if comparePlace(p, s.seg.Last) <= 0 {
		s.seg.Sorted = false
	}
	s.seg.Last = p
	s.seg.Rows++
	if m.Has(message.HasTimeTick) {
		s.seg.MinTimeTick, s.seg.MaxTimeTick = min(s.seg.MinTimeTick, m.TimeTick), max(s.seg.MaxTimeTick, m.TimeTick)
	}
}

// finish completes both files, gives them their names, makes those durable and
// reads everything back.
func (s *segmentWriter) finish(m *Manifest) (Segment, error) {
	seg := s.seg
	seg.TimeTick = s.behind
	base := s.freeName(m)
	for _, part := range []struct {
		o    *openFile
		dir  string
		into *FileEntry
	}{{s.payload, payloadDir(s.pchannel), &seg.Payload}, {s.index, indexDir(s.pchannel), &seg.Index}} {
		sum, err := part.o.finish()
		name := part.dir + "/" + base
		if err == nil {
			err = s.fsys.Rename(part.o.name, name)
		}
		if err == nil {
			err = s.fsys.SyncDir(part.dir)
		}
		if err != nil {
			return Segment{}, fmt.Errorf("completing %s: %w", name, err)
		}
		*part.into = entry(name, sum)
		if err := verifyWritten(s.fsys, *part.into); err != nil {
			return Segment{}, fmt.Errorf("reading back %s: %w", name, err)
		}
	}
	return seg, nil
}

// freeName names the segment's files after its first and last id; a log whose
// ids repeat gets a number after them.
func (s *segmentWriter) freeName(m *Manifest) string {
	base := idName(s.seg.First.ID(m.Backend)) + "-" + idName(s.seg.Last.ID(m.Backend))
	name := base + ".parquet"
	for n := 2; ; n++ {
		taken := false
		for i := range m.Segments {
			taken = taken || m.Segments[i].Index.Path == indexDir(s.pchannel)+"/"+name
		}
		if !taken {
			return name
		}
		name = fmt.Sprintf("%s.%d.parquet", base, n)
	}
}

// verifyWritten reads a file back from disk and compares it with what was
// meant to be written.
func verifyWritten(fsys FS, want FileEntry) error {
	got, err := hashFile(context.Background(), fsys, want.Path, want.Bytes)
	if err != nil {
		return err
	}
	if got != want.Hash {
		return fmt.Errorf("%w: checksum %s, wrote %s", ErrDamaged, got, want.Hash)
	}
	return nil
}

// hashFile returns the xxhash64 of a file that must have size bytes.
func hashFile(ctx context.Context, fsys FS, name string, size int64) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	have, err := f.Size()
	if err != nil {
		return "", err
	}
	if have != size {
		return "", fmt.Errorf("%w: %d bytes, want %d", ErrDamaged, have, size)
	}
	var h xxhash.Digest
	h.Reset()
	buf := make([]byte, max(1, min(size, 128<<10))) // stays in the processor's cache
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 && err != nil {
			return "", err
		}
		_, _ = h.Write(buf[:n])
		at += int64(n)
	}
	return hashText(h.Sum64()), nil
}
