package bookkeeper

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"hash/crc32"
)

// head is the part of an entry before its digest, and what the digest covers of it.
const head = 32

// digest is how BookKeeper checks an entry.
type digest uint8

// The digests. digestUnknown is an entry whose digest none of them makes.
const (
	digestUnknown digest = iota
	digestCRC32C
	digestCRC32
	digestMAC
	digestDummy // none; Pulsar's own checksum vouches for the entry
)

// length is how many bytes a digest takes.
func (d digest) length() int { return [...]int{0, 4, 8, sha1.Size, 0}[d] }

// checker tells whether the bytes of an entry are those that were written.
type checker struct {
	castagnoli *crc32.Table
	macKeys    [][]byte
}

// newChecker makes a checker that knows ledgers' passwords beside the empty one.
func newChecker(passwords [][]byte) *checker {
	c := &checker{castagnoli: crc32.MakeTable(crc32.Castagnoli)}
	for _, p := range append([][]byte{nil}, passwords...) {
		key := sha1.Sum(append([]byte("mac"), p...)) // what BookKeeper makes of a password
		c.macKeys = append(c.macKeys, key[:])
	}
	return c
}

// check tells by which digest an entry is right; digestUnknown is none.
func (c *checker) check(e []byte) digest {
	if len(e) >= head+4 && c.crc32c(e) {
		return digestCRC32C
	}
	for _, d := range []digest{digestCRC32, digestMAC, digestDummy} {
		if len(e) >= head+d.length() && c.is(d, e) {
			return d
		}
	}
	return digestUnknown
}

func (c *checker) crc32c(e []byte) bool {
	sum := crc32.Update(crc32.Checksum(e[:head], c.castagnoli), c.castagnoli, e[head+4:])
	return sum == binary.BigEndian.Uint32(e[head:])
}

func (c *checker) is(d digest, e []byte) bool {
	body := e[head+d.length():]
	switch d {
	case digestCRC32:
		sum := crc32.Update(crc32.ChecksumIEEE(e[:head]), crc32.IEEETable, body)
		return binary.BigEndian.Uint64(e[head:]) == uint64(sum)
	case digestMAC:
		if !isPayload(body) {
			return false // an HMAC of every stray byte would cost too much
		}
		for _, key := range c.macKeys {
			m := hmac.New(sha1.New, key)
			m.Write(e[:head])
			m.Write(body)
			if hmac.Equal(m.Sum(nil), e[head:head+sha1.Size]) {
				return true
			}
		}
	case digestDummy:
		p, err := splitPayload(body)
		return err == nil && p.summed && p.sound(c.castagnoli)
	}
	return false
}

// entryHead is what stands before an entry's digest.
type entryHead struct{ ledger, entry, confirmed, length int64 }

func readHead(e []byte) entryHead {
	n := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[i:])) }
	return entryHead{n(0), n(8), n(16), n(24)}
}

// maxNumber is more than any ledger or entry number met: a larger one is no number.
const maxNumber = 1 << 44

// plausible reports whether it can be an entry's.
func (h entryHead) plausible() bool {
	return h.ledger >= 0 && h.ledger < maxNumber && h.entry >= 0 && h.entry < maxNumber &&
		h.confirmed >= -1 && h.confirmed < h.entry && h.length >= 0 && h.length < 1<<56
}
