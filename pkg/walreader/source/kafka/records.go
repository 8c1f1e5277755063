package kafka

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source/internal/layout"
)

// The codecs of a batch (wire format).
const (
	codecNone   = 0
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

// Caps of what is unpacked.
const (
	maxRecord  = 64 << 20  // a record
	maxRecords = 256 << 20 // the records of a batch
	maxHeaders = 1 << 16
	zstdWindow = 64 << 20
)

var errRecord = errors.New("a record of it is not what Kafka writes")

// unpacker opens the records of batches. It is not safe for concurrent use.
type unpacker struct {
	in   bufio.Reader
	zstd *zstd.Decoder
	lz4  *lz4.Reader
	gzip *gzip.Reader
	rec  []byte
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

// open begins with the records of a batch.
func (u *unpacker) open(codec uint16, body []byte) error {
	var in io.Reader = bytes.NewReader(body)
	var err error
	switch codec {
	case codecNone:
	case codecGzip:
		if u.gzip == nil {
			u.gzip = new(gzip.Reader)
		}
		err = u.gzip.Reset(in)
		in = u.gzip
	case codecSnappy:
		in, err = unsnap(body)
	case codecLZ4:
		if u.lz4 == nil {
			u.lz4 = lz4.NewReader(nil)
		}
		u.lz4.Reset(in)
		in = u.lz4
	case codecZstd:
		if u.zstd == nil {
			u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		}
		if err == nil {
			err = u.zstd.Reset(in)
		}
		in = u.zstd
	default:
		err = errors.New("its compression is none that Kafka has")
	}
	if err != nil {
		return errors.New("its records cannot be unpacked: " + err.Error()) // never io.EOF, which would end the log
	}
	u.in.Reset(io.LimitReader(in, maxRecords))
	return nil
}

// What begins snappy blocks as Kafka's Java client frames them (wire format).
var xerial = [8]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

// unsnap unpacks snappy: one block, or several in a frame.
func unsnap(body []byte) (io.Reader, error) {
	if !bytes.HasPrefix(body, xerial[:]) || len(body) < xerialHeader {
		return block(body)
	}
	var parts []io.Reader
	total := 0
	for body = body[xerialHeader:]; len(body) > 0; {
		if len(body) < 4 || int64(binary.BigEndian.Uint32(body)) > int64(len(body)-4) {
			return nil, errors.New("its snappy frame is cut")
		}
		n := 4 + int(binary.BigEndian.Uint32(body))
		size, err := snappy.DecodedLen(body[4:n])
		if total += size; err != nil || total > maxRecords {
			return nil, errors.New("a snappy block is none")
		}
		part, err := block(body[4:n])
		if err != nil {
			return nil, err
		}
		parts, body = append(parts, part), body[n:]
	}
	return io.MultiReader(parts...), nil
}

// block unpacks one snappy block. It believes no size that so few bytes cannot hold.
func block(b []byte) (io.Reader, error) {
	n, err := snappy.DecodedLen(b)
	if err != nil || n > maxRecords || n > 64*(len(b)+64) {
		return nil, errors.New("a snappy block is none")
	}
	out, err := snappy.Decode(nil, b)
	return bytes.NewReader(out), err
}

// record is one record of a batch; its bytes are valid until the next.
type record struct {
	delta   int64
	key     []byte // Milvus writes none
	value   []byte
	headers []byte // encoded
	count   int64
}

// next returns the next record.
func (u *unpacker) next() (record, error) {
	n, err := binary.ReadVarint(&u.in)
	if err != nil || n < 0 || n > maxRecord {
		return record{}, spoilt(err)
	}
	if err := u.fill(int(n)); err != nil {
		return record{}, spoilt(err)
	}
	return parseRecord(u.rec)
}

// spoilt says why a record is none, in words: an io.EOF in it would end the log.
func spoilt(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errRecord
	}
	return fmt.Errorf("%w: %s", errRecord, err.Error())
}

// fill reads n bytes into rec. No memory is taken for bytes that do not come.
func (u *unpacker) fill(n int) error {
	const step = 1 << 20
	u.rec = u.rec[:0]
	for n > 0 {
		at := len(u.rec)
		u.rec = append(u.rec, make([]byte, min(n, step))...)
		got, err := io.ReadFull(&u.in, u.rec[at:])
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

// parseRecord takes a record apart: attributes, time, offset, key, value, headers.
func parseRecord(b []byte) (record, error) {
	if len(b) == 0 {
		return record{}, errRecord
	}
	p := cutter{b: b[1:]}
	var r record
	_ = p.number() // time
	r.delta = p.number()
	r.key = p.bytes()
	r.value = p.bytes()
	r.count = p.number()
	if r.headers = p.b; p.bad || r.count < 0 || r.count > maxHeaders {
		return r, errRecord
	}
	return r, nil
}

// properties hands the headers to a decoder.
func (r *record) properties(d *layout.Decoder) error {
	d.Reset()
	p := cutter{b: r.headers}
	for range r.count {
		k, v := p.bytes(), p.bytes()
		if p.bad {
			return errRecord
		}
		d.Property(k, v)
	}
	if len(p.b) > 0 {
		return errRecord
	}
	return nil
}

// message builds the message of a record.
func (r *record) message(d *layout.Decoder, offset int64, full bool, want func(message.Type) bool) (*message.Message, error) {
	if err := r.properties(d); err != nil {
		return nil, err
	}
	if r.count == 0 {
		d.Legacy(r.value)
	}
	return d.Message(id(offset), r.value, full, want), nil
}

// cutter cuts fields off the front of bytes.
type cutter struct {
	b   []byte
	bad bool
}

func (c *cutter) number() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// bytes cuts a field with its length before it; nil for none.
func (c *cutter) bytes() []byte {
	n := c.number()
	if n < 0 && n >= -1 {
		return nil
	}
	if c.bad || n < 0 || n > int64(len(c.b)) {
		c.bad = true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

// id is the id of an offset.
func id(offset int64) message.ID { return message.ID{Backend: message.BackendKafka, A: offset} }
