package rocksdb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Tags of a batch's records (wire format); the default family's carry no number.
const (
	tagDelete, tagPut, tagMerge, tagLogData                       = 0, 1, 2, 3
	tagFamilyDelete, tagFamilyPut, tagFamilyMerge                 = 4, 5, 6
	tagSingleDelete, tagFamilySingleDelete                        = 7, 8
	tagBeginPrepare, tagEndPrepare, tagCommit, tagRollback, tagNo = 9, 10, 11, 12, 13
	tagFamilyRangeDelete, tagRangeDelete                          = 14, 15
)

const batchHead = 12

var errShortBatch = errors.New("a batch that stops before its end")

// Batch is what a log record holds: changes that were written together.
type Batch struct {
	Seq   uint64 // of the first
	Count uint32 // sequence numbers taken
	body  []byte
}

// ParseBatch reads a batch's head.
func ParseBatch(b []byte) (Batch, error) {
	if len(b) < batchHead {
		return Batch{}, errShortBatch
	}
	out := Batch{Seq: binary.LittleEndian.Uint64(b), Count: binary.LittleEndian.Uint32(b[8:]), body: b[batchHead:]}
	if out.Seq>>56 != 0 {
		return Batch{}, fmt.Errorf("a batch of sequence %d, more than there can be", out.Seq)
	}
	return out, nil
}

// Each calls fn for every change of the default family. An error is what stands
// in the batch and cannot be read; n changes came before it.
func (b Batch) Each(fn func(Entry)) (n uint32, err error) {
	body, seq := b.body, b.Seq
	for len(body) > 0 {
		tag := body[0]
		body = body[1:]
		kind, family, args := describe(tag)
		if args < 0 {
			return n, fmt.Errorf("a batch with an entry of type %d, which walctl does not know", tag)
		}
		id := uint64(0)
		if family {
			var ok bool
			if id, body, ok = uvarint(body); !ok {
				return n, errShortBatch
			}
		}
		var arg [2][]byte
		for i := range args {
			var ok bool
			if arg[i], body, ok = sized(body); !ok {
				return n, errShortBatch
			}
		}
		if tag == tagLogData || tag >= tagBeginPrepare && tag <= tagNo {
			continue
		}
		if n == b.Count {
			return n, fmt.Errorf("a batch with more than the %d entries it says it has", b.Count)
		}
		if id == 0 {
			fn(Entry{Seq: seq, Kind: kind, Key: arg[0], Value: arg[1]})
		}
		n++
		seq++
	}
	if n != b.Count {
		return n, fmt.Errorf("a batch of %d entries that says it has %d", n, b.Count)
	}
	return n, nil
}

// describe tells an entry's kind, whether a family stands before its arguments,
// and how many those are; −1 = unknown.
func describe(tag byte) (kind Kind, family bool, args int) {
	switch tag {
	case tagDelete, tagFamilyDelete:
		return KindDelete, tag == tagFamilyDelete, 1
	case tagPut, tagFamilyPut:
		return KindPut, tag == tagFamilyPut, 2
	case tagMerge, tagFamilyMerge:
		return KindMerge, tag == tagFamilyMerge, 2
	case tagSingleDelete, tagFamilySingleDelete:
		return KindSingleDelete, tag == tagFamilySingleDelete, 1
	case tagRangeDelete, tagFamilyRangeDelete:
		return KindRangeDelete, tag == tagFamilyRangeDelete, 2
	case tagLogData, tagEndPrepare, tagCommit, tagRollback:
		return 0, false, 1
	case tagBeginPrepare, tagNo:
		return 0, false, 0
	}
	return 0, false, -1
}

// uvarint reads a varint.
func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// sized reads a length and that many bytes.
func sized(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := uvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
