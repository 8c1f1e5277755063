package bookkeeper_test

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// Compressions and digests, as the formats number them.
const (
	lz4Block = 1 + iota
	zlibStream
	zstdFrame
	snappyBlock
)

const vchannel = "by-dev-rootcoord-dml_0_1v0"

func sum(parts ...[]byte) uint32 {
	return crc32.Checksum(bytes.Join(parts, nil), crc32.MakeTable(crc32.Castagnoli))
}

func field(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// properties are those of a small message of Milvus's on a vchannel.
func properties(b []byte, n protowire.Number, vchannel string) []byte {
	for _, kv := range [][2]string{{"_v", "1"}, {"_t", "2"}, {"_tt", "3kpvu3tx8ef4"}, {"_lcs", ""}, {"_h", ""}, {"_vc", vchannel}} {
		b = field(b, n, field(field(nil, 1, []byte(kv[0])), 2, []byte(kv[1])))
	}
	return b
}

// shape says how an entry is written.
type shape struct {
	messages    int // of a batch; 0 = none
	compression uint64
	broker      bool
	vchannel    string
}

// payload is an entry as Pulsar writes it; text stands in its messages.
func payload(t testing.TB, s shape, text string) []byte {
	t.Helper()
	meta := number(field(nil, 1, []byte("producer")), 3, 1_700_000_000_000)
	body := []byte(text)
	if s.vchannel == "" {
		s.vchannel = vchannel
	}
	if s.messages > 0 {
		body = nil
		for i := range s.messages {
			p := fmt.Appendf(nil, "%s.%d", text, i)
			single := number(properties(nil, 1, s.vchannel), 3, uint64(len(p)))
			body = append(append(binary.BigEndian.AppendUint32(body, uint32(len(single))), single...), p...)
		}
		meta = number(meta, 11, uint64(s.messages))
	} else {
		meta = properties(meta, 4, s.vchannel)
	}
	if s.compression > 0 {
		meta = number(number(meta, 8, s.compression), 9, uint64(len(body)))
		body = packed(t, s.compression, body)
	}
	rest := append(append(binary.BigEndian.AppendUint32(nil, uint32(len(meta))), meta...), body...)
	var out []byte
	if s.broker {
		broker := number(number(nil, 1, 1_700_000_000_000), 2, 7)
		out = append(binary.BigEndian.AppendUint32([]byte{0x0e, 0x02}, uint32(len(broker))), broker...)
	}
	out = binary.BigEndian.AppendUint32(append(out, 0x0e, 0x01), sum(rest))
	return append(out, rest...)
}

func packed(t testing.TB, kind uint64, body []byte) []byte {
	t.Helper()
	switch kind {
	case lz4Block:
		out := make([]byte, lz4.CompressBlockBound(len(body)))
		n, err := lz4.CompressBlock(body, out, nil)
		require.NoError(t, err)
		require.NotZero(t, n, "the text must be one that shrinks")
		return out[:n]
	case zlibStream:
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, err := z.Write(body)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return out.Bytes()
	case zstdFrame:
		e, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		defer func() { _ = e.Close() }()
		return e.EncodeAll(body, nil)
	}
	return snappy.Encode(nil, body)
}

// entry is an entry of BookKeeper's with its digest: "crc32c", "crc32", "mac" or "".
func entry(ledger, n int64, digest string, body []byte) []byte {
	var e []byte
	for _, v := range []int64{ledger, n, n - 1, (n + 1) * 100} {
		e = binary.BigEndian.AppendUint64(e, uint64(v))
	}
	switch digest {
	case "crc32c":
		return append(binary.BigEndian.AppendUint32(e, sum(e, body)), body...)
	case "crc32":
		return append(binary.BigEndian.AppendUint64(e, uint64(crc32.ChecksumIEEE(append(bytes.Clone(e), body...)))), body...)
	case "mac":
		key := sha1.Sum([]byte("mac"))
		m := hmac.New(sha1.New, key[:])
		m.Write(e)
		m.Write(body)
		return append(m.Sum(e), body...)
	}
	return append(e, body...)
}

func sized(b, e []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
}

func entryLog(entries ...[]byte) []byte {
	b := append(make([]byte, 0, 4096), "BKLO\x00\x00\x00\x01"...)
	b = append(b, make([]byte, 1024-len(b))...)
	for _, e := range entries {
		b = sized(b, e)
	}
	return b
}

// journal pads every other entry to 512 bytes, and is longer than what stands in it.
func journal(entries ...[]byte) []byte {
	b := append(make([]byte, 0, 4096), "BKLG\x00\x00\x00\x06"...)
	b = append(b, make([]byte, 512-len(b))...)
	key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 5), 1<<64-0x1000)
	b = sized(b, append(binary.BigEndian.AppendUint32(key, 20), make([]byte, 20)...))
	for i, e := range entries {
		if b = sized(b, e); i%2 == 0 {
			pad := (512 - (len(b)+8)%512) % 512
			b = binary.BigEndian.AppendUint32(b, 1<<32-0x100)
			b = append(binary.BigEndian.AppendUint32(b, uint32(pad)), make([]byte, pad)...)
		}
	}
	return append(b, make([]byte, 2048)...)
}

func put(t testing.TB, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, b, 0o600))
}
