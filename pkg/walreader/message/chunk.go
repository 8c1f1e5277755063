package message

import (
	"bytes"
	"math"
	"slices"
	"strconv"
)

// Chunk tells which of a message's records this is where its writer split the
// payload over several: the record index of total. ok is false for a whole message,
// and where the two properties do not make sense (which stands in Defects).
// docs/rules.md#chunks
func (m *Message) Chunk() (index, total int, ok bool) {
	if !m.Has(HasOtherProps) {
		return 0, 0, false
	}
	index, total, err := chunkOf(m.Props)
	return index, total, err == "" && total > 0
}

// chunkOf reads `_ci` and `_ct`. total is 0 where neither is there; wrong says what
// is wrong with them.
func chunkOf(p Properties) (index, total int, wrong string) {
	i, hasIndex := p.Get(KeyChunkIndex)
	n, hasTotal := p.Get(KeyChunkTotal)
	switch {
	case !hasIndex && !hasTotal:
		return 0, 0, ""
	case !hasIndex:
		return 0, 0, "missing beside " + KeyChunkTotal
	case !hasTotal:
		return 0, 0, "without " + KeyChunkTotal
	}
	index, total = chunkNumber(i), chunkNumber(n)
	if index < 0 || total < 2 || index >= total {
		return 0, 0, "no place in a split payload: " + clip(i) + " of " + clip(n)
	}
	return index, total, ""
}

// chunkNumber reads a number as Milvus demands it to be written, −1 where it is not
// one. Nothing is ever allocated by it: a log holds what it holds of the records.
func chunkNumber(s string) int {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > math.MaxInt32 || strconv.FormatUint(n, 10) != s {
		return -1
	}
	return int(n)
}

// chunk notes which record of its message this is.
func (m *Message) chunk() {
	index, total, wrong := chunkOf(m.Props)
	switch {
	case wrong != "":
		m.defect(KeyChunkIndex, wrong, false)
	case index > 0:
		m.Flags |= Chunked | ChunkRest
	case total > 0:
		m.Flags |= Chunked
	}
}

// SameChunk reports whether two records of one place in a message carry the same
// bytes, as an append that was tried again leaves them: their ids differ, and so may
// what belongs to the attempt. Where the payloads were not read, sizes and checksums
// tell.
func SameChunk(a, b *Message) bool {
	switch {
	case a.PayloadSize != b.PayloadSize:
		return false
	case a.Payload != nil && b.Payload != nil:
		return bytes.Equal(a.Payload, b.Payload)
	case a.Checksum != 0 && b.Checksum != 0 && slices.Equal(a.Props, b.Props):
		return a.Checksum == b.Checksum
	}
	return true
}

// DropPayload lets a payload go that a reader was not asked for. Of a record of a
// split message the checksum stays: it tells one written again from another one.
func (m *Message) DropPayload() {
	if m.Has(Chunked) && m.Payload != nil && m.Checksum == 0 {
		m.Checksum = ComputeChecksum(m.Props, m.Payload)
	}
	m.Payload = nil
}

// JoinChunks puts a message together from its records, which must be all of it, in
// the order of their index: it is the first one, with everybody's payload. Where
// payloads were not read it has none, but its size. It keeps the flag Chunked.
func JoinChunks(records []*Message) *Message {
	m := *records[0]
	m.Flags &^= ChunkRest
	m.Payload, m.PayloadSize = nil, 0
	size, read := 0, true
	for _, r := range records {
		m.PayloadSize += r.PayloadSize
		size += len(r.Payload)
		read = read && (r.Payload != nil || r.PayloadSize == 0)
	}
	if read {
		m.Payload = make([]byte, 0, size)
		for _, r := range records {
			m.Payload = append(m.Payload, r.Payload...)
		}
	}
	m.Props = make(Properties, 0, len(records[0].Props))
	for _, p := range records[0].Props {
		if p.Key != KeyChunkIndex && p.Key != KeyChunkTotal {
			m.Props = append(m.Props, p)
		}
	}
	if m.Checksum = 0; read && records[0].Checksum != 0 {
		m.Checksum = ComputeChecksum(m.Props, m.Payload)
	}
	return &m
}
