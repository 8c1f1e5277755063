package bookkeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/walctl/walctl/pkg/walreader/source/internal/window"
)

// Headers and marks of the files (wire format).
const (
	entryLogMagic  = "BKLO"
	journalMagic   = "BKLG"
	entryLogHeader = 1024
	journalHeader  = 512
	journalPadding = -0x100
	longHeader     = 5  // the first version of a journal whose header is journalHeader long
	shortHeader    = 8  // of older ones
	mapLedger      = -1 // an entry log's own notes
)

// place is where an entry stands: at off behind its size, in a file.
type place struct {
	entry, off int64
	size       int32
	file       int32
}

// damage is a stretch of a file that holds no entry which is right.
type damage struct {
	file     *file
	from, to int64
	claimed  bool // ledger and entry are what its head says
	ledger   int64
	entry    int64
	torn     bool // it runs beyond the file's end
	cause    error
	told     bool
}

func (d *damage) String() string {
	return fmt.Sprintf("%s, bytes %d to %d", d.file.name, d.from, d.to)
}

var (
	errDigest = errors.New("the digest does not fit the bytes")
	errSize   = errors.New("no entry begins there")
	errTorn   = errors.New("the file ends in the middle of an entry")
)

// scanner walks one file.
type scanner struct {
	ctx    context.Context
	w      window.Window
	f      *file
	check  *checker
	budget int64 // bytes that may still be summed up where an entry is looked for
	found  func(p place, e []byte, d digest)
	damage func(damage)
	steps  int
}

// checkEvery is how many steps go by between two looks at the context.
const checkEvery = 1 << 10

func (s *scanner) cancelled() bool {
	s.steps++
	return s.steps%checkEvery == 0 && s.ctx.Err() != nil
}

// run walks the file from its header to its end.
func (s *scanner) run() error {
	at, err := s.header()
	if err != nil {
		return err
	}
	s.budget = 8*s.f.size + maxEntry
	for at < s.f.size {
		if s.cancelled() {
			return s.ctx.Err()
		}
		next, ok := s.step(at)
		if ok {
			at = next
			continue
		}
		if next, err = s.resync(at); err != nil {
			return err
		}
		at = next
	}
	return s.w.Failed
}

// header tells where the entries begin.
func (s *scanner) header() (int64, error) {
	h, err := s.w.At(0, min(journalHeader, s.f.size))
	if err != nil {
		return 0, err
	}
	known := len(h) >= shortHeader && (string(h[:4]) == entryLogMagic || string(h[:4]) == journalMagic)
	if !known {
		s.damage(damage{file: s.f, from: 0, to: min(4, s.f.size), cause: errors.New("the file's header is damaged"), ledger: -1, told: true})
	}
	if !s.f.journal {
		return min(entryLogHeader, s.f.size), nil
	}
	if known && int32(binary.BigEndian.Uint32(h[4:])) < longHeader {
		return shortHeader, nil
	}
	return min(journalHeader, s.f.size), nil
}

// step takes what stands at an offset: an entry, a control record or padding. It
// returns where the next begins; false where nothing of the kind stands there.
func (s *scanner) step(at int64) (next int64, ok bool) {
	b, err := s.w.At(at, 4)
	if err != nil {
		return s.f.size, s.restIsZero(at)
	}
	size := int64(int32(binary.BigEndian.Uint32(b)))
	switch {
	case size == 0:
		return s.zeros(at), true
	case size == journalPadding && s.f.journal:
		pad, err := s.w.At(at+4, 4)
		if err != nil {
			return 0, false
		}
		n := int64(int32(binary.BigEndian.Uint32(pad)))
		if n < 0 || n > s.f.size-at-8 || !s.isZero(at+8, n) { // an entry in it: its size is wrong
			return 0, false
		}
		return at + 8 + n, true
	case size < 16 || size > maxEntry || size > s.f.size-at-4:
		return 0, false
	}
	e, err := s.w.At(at+4, size)
	if err != nil {
		return 0, false
	}
	return at + 4 + size, s.take(at+4, e)
}

// take hands on an entry that is right; a control record passes as it is.
func (s *scanner) take(off int64, e []byte) bool {
	ledger, entry := int64(binary.BigEndian.Uint64(e)), int64(binary.BigEndian.Uint64(e[8:]))
	if ledger == mapLedger && !s.f.journal && entry < 0 {
		return true
	}
	if s.f.journal && ledger >= 0 && ledger < maxNumber && entry < 0 && -entry <= 0x8000 && -entry&(-entry-1) == 0 {
		return controlSize(e) || s.rightAt(off+int64(len(e))) // a master key, a fence and their like
	}
	if len(e) < head || !readHead(e).plausible() {
		return false
	}
	d := s.check.check(e)
	if d == digestUnknown {
		return false
	}
	s.found(place{entry: entry, off: off, size: int32(len(e)), file: s.f.index}, e, d)
	return true
}

// controlSize reports whether a journal's control record is as long as it says: it is
// its two numbers alone, or a length and what is that long after them.
func controlSize(e []byte) bool {
	const numbers = 16
	return len(e) == numbers || len(e) >= numbers+4 && uint64(len(e)) == numbers+4+uint64(binary.BigEndian.Uint32(e[numbers:]))
}

// zeros passes over zero bytes, as files that were made longer before they are
// written have them.
func (s *scanner) zeros(at int64) int64 {
	for at < s.f.size {
		n := min(s.f.size-at, 64<<10)
		b, err := s.w.At(at, n)
		if err != nil {
			return s.f.size
		}
		for i, c := range b {
			if c != 0 {
				return s.sizeAt(at, at+int64(i))
			}
		}
		at += n
	}
	return at
}

// sizeAt finds which of the zero bytes between two offsets begin a size.
func (s *scanner) sizeAt(from, first int64) int64 {
	for n := min(first-from, 3); n > 0; n-- {
		if s.rightAt(first - n) {
			return first - n
		}
	}
	return first
}

func (s *scanner) restIsZero(at int64) bool { return s.isZero(at, s.f.size-at) }

// isZero reports whether n bytes from an offset are all zero.
func (s *scanner) isZero(at, n int64) bool {
	if n > maxEntry {
		return false
	}
	b, err := s.w.At(at, n)
	if err != nil {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// resync finds the next entry that is right after a place where none is, and tells
// what lies between.
func (s *scanner) resync(at int64) (int64, error) {
	d := damage{file: s.f, from: at, to: s.f.size, ledger: -1, cause: errSize}
	next, err := s.search(at + 1)
	if err != nil {
		return 0, err
	}
	if b, err := s.w.At(at, 4+head); err == nil {
		size := int64(int32(binary.BigEndian.Uint32(b)))
		h := readHead(b[4:])
		if d.claimed = h.plausible(); d.claimed {
			d.ledger, d.entry = h.ledger, h.entry
		}
		switch whole := size >= head && size <= maxEntry; {
		case whole && at+4+size > s.f.size && d.claimed:
			d.torn, d.cause = true, errTorn
		case whole && d.claimed:
			d.cause = errDigest
			// An entry that begins inside the claimed size shows that the size is wrong.
			if end := at + 4 + size; end <= next && (end == s.f.size || s.begins(end)) {
				d.to, d.torn = end, s.unwritten(end)
				s.damage(d)
				return end, nil
			}
		}
	} else {
		d.torn, d.cause = true, errTorn
	}
	d.to = next
	d.torn = d.torn && next == s.f.size
	if next < s.f.size && errors.Is(d.cause, errTorn) {
		d.cause = errSize
	}
	if s.unsized(at, next) {
		d.told = true // only its size was wrong
	}
	s.damage(d)
	return next, nil
}

// unwritten reports whether an entry of a journal ends in zero bytes that go on to the
// end of the file, which was made longer before it was written: a crash stopped it.
func (s *scanner) unwritten(next int64) bool {
	b, err := s.w.At(next-1, 1)
	return err == nil && s.f.journal && next < s.f.size && b[0] == 0 && s.zeros(next) == s.f.size
}

// unsized reads an entry whose size is wrong and whose bytes are right: it reaches
// to where the next begins.
func (s *scanner) unsized(at, next int64) bool {
	if next-at-4 < head || next-at-4 > maxEntry {
		return false
	}
	e, err := s.w.At(at+4, next-at-4)
	return err == nil && s.take(at+4, e)
}

// begins reports whether an entry that is right, padding or a control record stands
// at an offset.
func (s *scanner) begins(at int64) bool {
	b, err := s.w.At(at, 4)
	if err != nil {
		return true
	}
	size := int64(int32(binary.BigEndian.Uint32(b)))
	if size == 0 || size == journalPadding && s.f.journal {
		return true
	}
	return s.right(at, size)
}

// rightAt reports whether an entry whose digest is right begins at an offset.
func (s *scanner) rightAt(at int64) bool {
	b, err := s.w.At(at, 4)
	return err == nil && s.right(at, int64(int32(binary.BigEndian.Uint32(b))))
}

// right reports whether an entry stands at an offset whose digest is right.
func (s *scanner) right(at, size int64) bool {
	if size < 16 || size > maxEntry || size > s.f.size-at-4 {
		return false
	}
	b, err := s.w.At(at+4, min(size, head))
	if err != nil {
		return false
	}
	ledger, entry := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
	if !s.f.journal && ledger == mapLedger && entry == mapLedger-1 {
		return true
	}
	if size < head || !readHead(b).plausible() || s.budget < size {
		return false
	}
	s.budget -= size
	e, err := s.w.At(at+4, size)
	return err == nil && s.check.check(e) != digestUnknown
}

// search finds where the next entry that is right begins; the file's end is none.
func (s *scanner) search(at int64) (int64, error) {
	const stretch = 64 << 10
	for at < s.f.size {
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		n := min(stretch+4+head, s.f.size-at)
		b, err := s.w.At(at, n)
		if err != nil || n < 4+head {
			return s.f.size, s.w.Failed
		}
		chunk := append([]byte(nil), b...) // right reads on
		for i := 0; i+4+head <= len(chunk); i++ {
			size := int64(int32(binary.BigEndian.Uint32(chunk[i:])))
			if size >= head && size <= maxEntry && readHead(chunk[i+4:]).plausible() && s.right(at+int64(i), size) {
				return at + int64(i), nil
			}
		}
		if n < stretch+4+head {
			break
		}
		at += stretch + 1
	}
	return s.f.size, nil
}
