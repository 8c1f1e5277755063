package message

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Backend names the WAL implementation a position belongs to. The numbers are
// those of commonpb.WALName and therefore stand in stored checkpoints (wire format).
type Backend uint16

// The backends Milvus knows, plus Offset.
const (
	BackendUnknown    Backend = 0
	BackendRocksMQ    Backend = 1
	BackendPulsar     Backend = 2
	BackendKafka      Backend = 3
	BackendWoodpecker Backend = 4
	BackendTest       Backend = 999
	// BackendOffset is a single number whose backend the log itself does not
	// tell: RocksMQ or Kafka, only the checkpoint's WAL name says which.
	// It never stands in a stored value.
	BackendOffset Backend = 1000
)

// String returns the name Milvus prints for the backend.
func (b Backend) String() string {
	switch b {
	case BackendRocksMQ:
		return "RocksMQ"
	case BackendPulsar:
		return "Pulsar"
	case BackendKafka:
		return "Kafka"
	case BackendWoodpecker:
		return "WoodPecker"
	case BackendTest:
		return "Test"
	case BackendOffset:
		return "Offset"
	}
	return "Unknown"
}

// ID is a position in a WAL of any backend. It is comparable: two IDs are the
// same position exactly when they are ==. What a stored spelling carries beyond
// the position (Pulsar's partition and batch size) is kept in Form.
//
//	backend      A        B       Batch
//	Pulsar       ledger   entry   batch index
//	Woodpecker   segment  entry   0
//	Kafka        offset   0       0
//	RocksMQ      offset   0       0
type ID struct {
	A, B    int64
	Batch   int32
	Backend Backend
}

// Form is the part of a Pulsar id's stored spelling that is no position:
// in-memory WALs write partition −1 and batch size 0, a broker's 0 and 1.
type Form struct {
	Partition int32
	BatchSize int32
}

// ErrBadID is wrapped by every error of the id parsers.
var ErrBadID = errors.New("not a message id")

// IsZero reports whether the id was never set. Woodpecker's 0/0 is set.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders two ids of one log: −1, 0 or +1. Offsets compare by their number
// whatever backend is known for them (SameWAL). Ids of different WALs are ordered
// by backend, so that sorting is total; callers that must not mix logs ask
// SameWAL first.
func (id ID) Compare(o ID) int {
	if !id.SameWAL(o) {
		return cmp.Compare(id.Backend, o.Backend)
	}
	return cmp.Or(cmp.Compare(id.A, o.A), cmp.Compare(id.B, o.B), cmp.Compare(id.Batch, o.Batch))
}

// SameWAL reports whether two ids can belong to one log: the same backend, or
// offsets of which one does not tell whether RocksMQ or Kafka wrote it.
func (id ID) SameWAL(o ID) bool {
	return id.Backend == o.Backend ||
		id.Backend == BackendOffset && o.Backend.Offsets() || o.Backend == BackendOffset && id.Backend.Offsets()
}

// Offsets reports whether the backend's ids are single numbers, which need not be
// contiguous.
func (b Backend) Offsets() bool {
	return b == BackendKafka || b == BackendRocksMQ || b == BackendOffset || b == BackendTest
}

// Less reports whether id lies before o.
func (id ID) Less(o ID) bool { return id.Compare(o) < 0 }

// String prints the id as operators and Milvus's logs write it: 12/345/0 for
// Pulsar, 4/8 for Woodpecker, 1234 for Kafka and RocksMQ.
func (id ID) String() string {
	var buf [64]byte
	return string(id.AppendText(buf[:0]))
}

// Text is String, and "" of no id at all: for answers that leave it out.
func (id ID) Text() string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// AppendText appends what String returns to b.
func (id ID) AppendText(b []byte) []byte {
	if id.Backend == BackendUnknown {
		return append(b, '-')
	}
	b = strconv.AppendInt(b, id.A, 10)
	if id.Backend == BackendPulsar || id.Backend == BackendWoodpecker {
		b = strconv.AppendInt(append(b, '/'), id.B, 10)
	}
	if id.Backend == BackendPulsar {
		b = strconv.AppendInt(append(b, '/'), int64(id.Batch), 10)
	}
	return b
}

// EarliestID and LatestID are Pulsar's sentinels as Milvus stores them.
func EarliestID() ID { return ID{Backend: BackendPulsar, A: -1, B: -1, Batch: -1} }

// LatestID is Pulsar's "behind everything" sentinel.
func LatestID() ID {
	return ID{Backend: BackendPulsar, A: math.MaxInt64, B: math.MaxInt64, Batch: -1}
}

// IsEarliest reports whether the id stands for a log's beginning, wherever that is:
// Pulsar's sentinel, or a negative offset (Kafka's −2 is what AlterWAL leaves).
// Woodpecker's is 0/0, a place like any other.
func (id ID) IsEarliest() bool {
	return id == EarliestID() || id.Backend.Offsets() && id.A < 0
}

// Raw encodes the id as Milvus stores it in checkpoints and in `_lc`.
// docs/rules.md#ids
func (id ID) Raw(f Form) string {
	var buf [maxRaw]byte
	return string(id.AppendRaw(buf[:0], f))
}

// maxRaw is the longest stored spelling there is room for: five fields of a tag
// and a varint of ten bytes, in base64, with room to spare.
const maxRaw = 128

// maxBytes caps a raw id; one with the largest ack set is far shorter.
const maxBytes = 4096

// AppendRaw appends the stored spelling to b.
func (id ID) AppendRaw(b []byte, f Form) []byte {
	var buf [64]byte
	switch id.Backend {
	case BackendPulsar:
		return base64.StdEncoding.AppendEncode(b, appendPulsar(buf[:0], id, f))
	case BackendWoodpecker:
		p := buf[:0]
		if id.A != 0 {
			p = protowire.AppendVarint(protowire.AppendTag(p, 1, protowire.VarintType), uint64(id.A))
		}
		if id.B != 0 {
			p = protowire.AppendVarint(protowire.AppendTag(p, 2, protowire.VarintType), uint64(id.B))
		}
		return base64.StdEncoding.AppendEncode(b, p)
	case BackendKafka, BackendRocksMQ, BackendOffset, BackendTest:
		return strconv.AppendInt(b, id.A, 36)
	}
	return b
}

// isRaw reports whether raw is what Raw returns, without building it.
func (id ID) isRaw(f Form, raw string) bool {
	var buf [maxRaw]byte
	return string(id.AppendRaw(buf[:0], f)) == raw
}

// appendPulsar writes MessageIdData with all five fields, as the Go client does.
func appendPulsar(b []byte, id ID, f Form) []byte {
	b = protowire.AppendVarint(append(b, 1<<3), uint64(id.A))
	b = protowire.AppendVarint(append(b, 2<<3), uint64(id.B))
	b = protowire.AppendVarint(append(b, 3<<3), uint64(int64(f.Partition)))
	b = protowire.AppendVarint(append(b, 4<<3), uint64(int64(id.Batch)))
	return protowire.AppendVarint(append(b, 6<<3), uint64(int64(f.BatchSize)))
}

// ParseRaw decodes the stored spelling of an id. The backend must be known
// (BackendOffset stands for Kafka or RocksMQ). Woodpecker's empty string is 0/0,
// a real position.
func ParseRaw(backend Backend, raw string) (ID, Form, error) {
	switch backend {
	case BackendPulsar, BackendWoodpecker:
		var in, buf [maxRaw]byte
		if len(raw) > maxRaw {
			return ID{}, Form{}, fmt.Errorf("%w: %s id of %d characters", ErrBadID, backend, len(raw))
		}
		n, err := base64.StdEncoding.Decode(buf[:], in[:copy(in[:], raw)])
		if err != nil {
			return ID{}, Form{}, fmt.Errorf("%w: %s id %q is not base64", ErrBadID, backend, raw)
		}
		return parseRawBytes(backend, buf[:n])
	case BackendKafka, BackendRocksMQ, BackendOffset, BackendTest:
		v, err := strconv.ParseInt(raw, 36, 64)
		if err != nil {
			u, uerr := strconv.ParseUint(raw, 36, 64) // Kafka writers up to 2.6.17
			if uerr != nil {
				return ID{}, Form{}, fmt.Errorf("%w: offset %q is not base36", ErrBadID, raw)
			}
			v = int64(u)
		}
		return ID{Backend: backend, A: v}, Form{}, nil
	}
	return ID{}, Form{}, fmt.Errorf("%w: backend of %q is unknown", ErrBadID, raw)
}

func parseRawBytes(backend Backend, b []byte) (ID, Form, error) {
	id, f := ID{Backend: backend}, Form{}
	if backend == BackendPulsar {
		f, id.Batch = Form{Partition: -1}, -1 // proto2 defaults
	}
	seen := 0
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ID{}, Form{}, fmt.Errorf("%w: broken %s id", ErrBadID, backend)
		}
		b = b[n:]
		var v uint64
		if typ == protowire.VarintType {
			v, n = protowire.ConsumeVarint(b)
		} else { // an ack set, a first chunk: they say nothing about the place
			n = protowire.ConsumeFieldValue(num, typ, b)
			if backend == BackendPulsar && typ == protowire.BytesType && n >= 0 && !validPart(num, b[:n]) {
				n = -1
			}
			num = 0
		}
		if n < 0 {
			return ID{}, Form{}, fmt.Errorf("%w: broken %s id", ErrBadID, backend)
		}
		b = b[n:]
		switch {
		case num == 1:
			id.A, seen = int64(v), seen|1
		case num == 2:
			id.B, seen = int64(v), seen|2
		case backend != BackendPulsar:
		case num == 3:
			f.Partition = int32(v)
		case num == 4:
			id.Batch = int32(v)
		case num == 6:
			f.BatchSize = int32(v)
		}
	}
	if backend == BackendPulsar && seen != 3 {
		return ID{}, Form{}, fmt.Errorf("%w: Pulsar id without ledger or entry", ErrBadID)
	}
	return id, f, nil
}

// validPart checks what a Pulsar id may carry beside the position, since a
// reader of Milvus's refuses the whole id for it: an ack set and a chunk's id.
func validPart(num protowire.Number, b []byte) bool {
	v, _ := protowire.ConsumeBytes(b)
	switch num {
	case 5:
		for len(v) > 0 {
			_, n := protowire.ConsumeVarint(v)
			if n < 0 {
				return false
			}
			v = v[n:]
		}
	case 7:
		_, _, err := parseRawBytes(BackendPulsar, v)
		return err == nil
	}
	return true
}

// ParseBytes decodes the raw bytes of DataCoord's channel checkpoints:
// protobuf for Pulsar and Woodpecker, 8 bytes little-endian for offsets.
func ParseBytes(backend Backend, b []byte) (ID, Form, error) {
	switch backend {
	case BackendPulsar, BackendWoodpecker:
		if len(b) > maxBytes { // also bounds how deep a chunk's id can nest
			return ID{}, Form{}, fmt.Errorf("%w: %s id of %d bytes", ErrBadID, backend, len(b))
		}
		return parseRawBytes(backend, b)
	case BackendKafka, BackendRocksMQ, BackendOffset, BackendTest:
		if len(b) != 8 {
			return ID{}, Form{}, fmt.Errorf("%w: offset of %d bytes, want 8", ErrBadID, len(b))
		}
		var v uint64
		for i := 7; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
		return ID{Backend: backend, A: int64(v)}, Form{}, nil
	}
	return ID{}, Form{}, fmt.Errorf("%w: backend is unknown", ErrBadID)
}

// AppendBytes appends the id as DataCoord stores it in channel checkpoints, which
// ParseBytes reads. docs/rules.md#ids
func (id ID) AppendBytes(b []byte, f Form) ([]byte, error) {
	switch id.Backend {
	case BackendPulsar, BackendWoodpecker:
		var buf [maxRaw]byte
		return base64.StdEncoding.AppendDecode(b, id.AppendRaw(buf[:0], f))
	case BackendKafka, BackendRocksMQ, BackendOffset, BackendTest:
		return binary.LittleEndian.AppendUint64(b, uint64(id.A)), nil
	}
	return b, fmt.Errorf("%w: backend is unknown", ErrBadID)
}

// WALName is what stands beside the id in a stored value: the backend's number, 0
// where the log does not tell it (Milvus then takes the WAL configured).
func (id ID) WALName() int32 {
	if id.Backend == BackendOffset {
		return 0
	}
	return int32(id.Backend)
}

// ParseText decodes what a person types: L:E, L:E:B, L/E, L/E/B, a plain
// number, or the base64 spelling of a checkpoint. backend tells Pulsar from
// Woodpecker where two numbers are given; BackendUnknown reads two as
// Woodpecker, three as Pulsar, one as an offset: the rule of an `ids` field.
// A Pulsar id without a batch index means the first message of its entry.
func ParseText(backend Backend, s string) (ID, error) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == ':' })
	nums := make([]int64, 0, 3)
	for _, p := range parts {
		v, err := strconv.ParseInt(p, 10, 64)
		if err != nil {
			return parseTextRaw(backend, s)
		}
		nums = append(nums, v)
	}
	switch {
	case len(nums) == 1 && strings.ContainsAny(s, "/:"), len(nums) == 0, len(nums) > 3:
		return parseTextRaw(backend, s)
	case len(nums) == 1:
		if backend == BackendPulsar || backend == BackendWoodpecker {
			return ID{Backend: backend, A: nums[0]}, nil
		}
		if backend == BackendUnknown {
			backend = BackendOffset
		}
		return ID{Backend: backend, A: nums[0]}, nil
	case len(nums) == 2 && backend != BackendPulsar:
		return ID{Backend: BackendWoodpecker, A: nums[0], B: nums[1]}, nil
	case len(nums) == 2:
		return ID{Backend: BackendPulsar, A: nums[0], B: nums[1]}, nil
	case nums[2] < math.MinInt32 || nums[2] > math.MaxInt32:
		return ID{}, fmt.Errorf("%w: batch index of %q does not fit", ErrBadID, s)
	}
	return ID{Backend: BackendPulsar, A: nums[0], B: nums[1], Batch: int32(nums[2])}, nil
}

func parseTextRaw(backend Backend, s string) (ID, error) {
	if backend == BackendUnknown {
		backend = BackendPulsar
	}
	id, _, err := ParseRaw(backend, s)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %q; write LEDGER/ENTRY[/BATCH], SEGMENT/ENTRY, an offset, or the base64 of a checkpoint", ErrBadID, s)
	}
	return id, nil
}
