package bookkeeper

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// What begins the parts of an entry as Pulsar writes it (wire format).
const (
	magicChecksum = 0x0e01
	magicBroker   = 0x0e02
)

// Compression of an entry's body (wire format).
const (
	compressNone = iota
	compressLZ4
	compressZLIB
	compressZSTD
	compressSnappy
)

// Caps of what an entry says of itself.
const (
	maxBody     = 256 << 20
	maxMessages = 1 << 20
)

var errPayload = errors.New("not an entry of Pulsar's")

// payload is an entry as Pulsar writes it, taken apart as far as its two parts.
type payload struct {
	summed bool
	sum    uint32
	rest   []byte // what the checksum covers
	meta   []byte
	body   []byte
}

// isPayload tells by the first bytes whether Pulsar wrote an entry with a checksum.
func isPayload(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	m := binary.BigEndian.Uint16(b)
	return m == magicBroker || m == magicChecksum
}

func splitPayload(b []byte) (payload, error) {
	var p payload
	if len(b) >= 6 && binary.BigEndian.Uint16(b) == magicBroker {
		n := int64(binary.BigEndian.Uint32(b[2:]))
		if n > int64(len(b)-6) {
			return p, errPayload
		}
		b = b[6+n:]
	}
	if len(b) >= 6 && binary.BigEndian.Uint16(b) == magicChecksum {
		p.summed, p.sum = true, binary.BigEndian.Uint32(b[2:])
		b = b[6:]
	}
	if len(b) < 4 {
		return p, errPayload
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n > int64(len(b)-4) {
		return p, errPayload
	}
	p.rest, p.meta, p.body = b, b[4:4+n], b[4+n:]
	return p, nil
}

// sound checks Pulsar's own checksum.
func (p payload) sound(castagnoli *crc32.Table) bool {
	return !p.summed || crc32.Checksum(p.rest, castagnoli) == p.sum
}

// metadata is what of an entry's MessageMetadata is asked for.
type metadata struct {
	props        []message.Property
	publish      int64
	compression  uint64
	uncompressed uint64
	batched      bool
	messages     uint64
	marker       bool
	encrypted    bool
	chunks       uint64 // of the message this is a piece of; 0 = it is whole
	chunk        uint64
	null         bool
}

func readMetadata(b []byte) (metadata, error) {
	var m metadata
	sane := true
	ok := message.Fields(b, func(n protowire.Number, x uint64) {
		switch n {
		case 3:
			m.publish = int64(x)
		case 8:
			m.compression = x
		case 9:
			m.uncompressed = x
		case 11:
			m.batched, m.messages = true, x
		case 20:
			m.marker = true
		case 25:
			m.null = x != 0
		case 27:
			m.chunks = x
		case 29:
			m.chunk = x
		}
	}, func(n protowire.Number, v []byte) bool {
		switch n {
		case 4:
			p, good := readProperty(v)
			m.props, sane = append(m.props, p), sane && good
		case 13:
			m.encrypted = true
		}
		return sane
	})
	if !ok {
		return m, fmt.Errorf("%w: its metadata is no MessageMetadata", errPayload)
	}
	return m, nil
}

func readProperty(b []byte) (message.Property, bool) {
	var p message.Property
	ok := message.Fields(b, nil, func(n protowire.Number, v []byte) bool {
		switch n {
		case 1:
			p.Key = string(v)
		case 2:
			p.Value = string(v)
		}
		return true
	})
	return p, ok
}

// unpacker decompresses bodies. It is not safe for concurrent use.
type unpacker struct{ zstd *zstd.Decoder }

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

// body decompresses; the result may be body itself.
func (u *unpacker) body(m metadata, body []byte) ([]byte, error) {
	if m.compression == compressNone {
		return body, nil
	}
	if m.uncompressed > maxBody {
		return nil, fmt.Errorf("an entry of %d bytes decompressed, more than walctl reads (%d)", m.uncompressed, maxBody)
	}
	out, err := u.decompress(m.compression, int(m.uncompressed), body)
	if err != nil {
		return nil, err
	}
	if uint64(len(out)) != m.uncompressed {
		return nil, fmt.Errorf("an entry of %d bytes decompressed that says it has %d", len(out), m.uncompressed)
	}
	return out, nil
}

// decompress never makes more than size bytes, and one, out of an entry.
func (u *unpacker) decompress(kind uint64, size int, body []byte) ([]byte, error) {
	switch kind {
	case compressLZ4:
		if size > 255*len(body)+64 { // LZ4 packs no tighter
			return nil, errors.New("its LZ4 block is too short for what it says it holds")
		}
		out := make([]byte, size)
		n, err := lz4.UncompressBlock(body, out)
		if err != nil {
			return nil, errors.New("its LZ4 block cannot be decompressed")
		}
		return out[:n], nil
	case compressZLIB:
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, errors.New("its zlib stream cannot be decompressed")
		}
		var out bytes.Buffer
		if _, err = io.Copy(&out, io.LimitReader(z, int64(size)+1)); err != nil {
			return nil, errors.New("its zlib stream cannot be decompressed")
		}
		return out.Bytes(), nil
	case compressZSTD:
		if u.zstd == nil {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
			if err != nil {
				return nil, fmt.Errorf("prepare to decompress: %w", err)
			}
			u.zstd = d
		}
		out, err := u.zstd.DecodeAll(body, make([]byte, 0, min(size, 4<<20)))
		if err != nil {
			return nil, errors.New("its zstd frame cannot be decompressed")
		}
		return out, nil
	case compressSnappy:
		if n, err := snappy.DecodedLen(body); err != nil || n != size {
			return nil, errors.New("its snappy block cannot be decompressed")
		}
		out, err := snappy.Decode(nil, body)
		if err != nil {
			return nil, errors.New("its snappy block cannot be decompressed")
		}
		return out, nil
	}
	return nil, fmt.Errorf("compressed in a way (%d) that walctl does not know", kind)
}

// single is one message of an entry.
type single struct {
	props   []message.Property
	payload []byte
}

// singles takes a batch apart: size u32, SingleMessageMetadata, payload, again and
// again. What stands before an error was read.
func singles(m metadata, body []byte) ([]single, error) {
	if m.messages > maxMessages {
		return nil, fmt.Errorf("a batch of %d messages, more than there can be", m.messages)
	}
	var out []single
	for i := uint64(0); i < m.messages; i++ {
		if len(body) < 4 {
			return out, fmt.Errorf("a batch of %d messages that stops after %d", m.messages, i)
		}
		n := int64(binary.BigEndian.Uint32(body))
		if body = body[4:]; n > int64(len(body)) {
			return out, fmt.Errorf("a batch of %d messages that stops after %d", m.messages, i)
		}
		s, size, ok := readSingle(body[:n])
		if body = body[n:]; !ok || size > uint64(len(body)) {
			return out, fmt.Errorf("message %d of a batch of %d cannot be read", i, m.messages)
		}
		s.payload, body = body[:size], body[size:]
		out = append(out, s)
	}
	return out, nil
}

func readSingle(b []byte) (s single, size uint64, ok bool) {
	sane := true
	ok = message.Fields(b, func(n protowire.Number, x uint64) {
		if n == 3 {
			size = x
		}
	}, func(n protowire.Number, v []byte) bool {
		if n == 1 {
			p, good := readProperty(v)
			s.props, sane = append(s.props, p), sane && good
		}
		return sane
	})
	return s, size, ok
}
