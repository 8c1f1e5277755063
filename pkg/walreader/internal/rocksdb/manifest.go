package rocksdb

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Tags of a version edit (wire format). One with the bit skippable is followed by
// its length.
const (
	editComparator, editLogNumber, editNextFile, editLastSequence = 1, 2, 3, 4
	editCompactPointer, editDeletedFile, editNewFile, editPrevLog = 5, 6, 7, 9
	editMinLog, editNewFile2, editNewFile3, editNewFile4          = 10, 100, 102, 103
	editFamily, editFamilyAdd, editFamilyDrop, editMaxFamily      = 200, 201, 202, 203
	editAtomicGroup                                               = 300
	skippable                                                     = 1 << 13
	maxLive                                                       = 1 << 20
)

// LiveFile is a table of the default family that the manifest names.
type LiveFile struct {
	Number, Size      uint64
	Smallest, Largest []byte // user keys
	MaxSeq            uint64
}

// Manifest is what a manifest says of the default family.
type Manifest struct {
	Files     map[uint64]LiveFile
	LogNumber uint64 // logs before it are in tables
	LastSeq   uint64
	Damage    []error // what of it could not be read
}

// ReadManifest replays a manifest's edits. Behind a damage it is not to be relied on.
func ReadManifest(name string, in io.ReaderAt, size int64) Manifest {
	m := Manifest{Files: make(map[uint64]LiveFile)}
	r := NewLogReader(name, 0, in, size, 0)
	for n := 0; ; n++ {
		rec, off, err := r.Next()
		var d *Damage
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			m.Damage = append(m.Damage, &Damage{File: name, To: size, Cause: errors.New("it says nothing")})
			return m
		case errors.Is(err, io.EOF), errors.Is(err, ErrTorn): // its end is being written, or was when it crashed
			return m
		case errors.As(err, &d):
			m.Damage = append(m.Damage, d)
			continue
		case err != nil:
			m.Damage = append(m.Damage, &Damage{File: name, From: r.at, To: size, Cause: err})
			return m
		}
		if err := m.edit(rec); err != nil {
			m.Damage = append(m.Damage, &Damage{File: name, From: off, To: off + int64(len(rec)), Cause: err})
		}
	}
}

var errEdit = errors.New("an edit that stops before its end")

// edit applies one version edit.
func (m *Manifest) edit(b []byte) error {
	e := editor{b: b}
	for len(e.b) > 0 && e.err == nil {
		switch tag := e.number(); tag {
		case editComparator, editFamilyAdd:
			e.bytes()
		case editLogNumber:
			e.log, e.hasLog = e.number(), true
		case editLastSequence:
			m.LastSeq = e.number()
		case editNextFile, editPrevLog, editMinLog, editMaxFamily, editAtomicGroup:
			e.number()
		case editCompactPointer:
			e.number()
			e.bytes()
		case editDeletedFile:
			e.number()
			e.deleted = append(e.deleted, e.number())
		case editNewFile, editNewFile2, editNewFile3, editNewFile4:
			e.file(tag)
		case editFamily:
			e.family = e.number()
		case editFamilyDrop:
		default:
			if tag&skippable == 0 {
				return fmt.Errorf("an edit of type %d, which walctl does not know", tag)
			}
			e.bytes()
		}
	}
	if e.err != nil || e.family != 0 {
		return e.err
	}
	for _, n := range e.deleted {
		delete(m.Files, n)
	}
	for _, f := range e.added {
		if len(m.Files) < maxLive {
			m.Files[f.Number] = f
		}
	}
	if e.hasLog {
		m.LogNumber = e.log
	}
	return nil
}

// editor takes an edit apart.
type editor struct {
	b           []byte
	family, log uint64
	hasLog      bool
	deleted     []uint64
	added       []LiveFile
	err         error
}

func (e *editor) number() uint64 {
	v, rest, ok := uvarint(e.b)
	if !ok {
		e.err, e.b = errEdit, nil
		return 0
	}
	e.b = rest
	return v
}

func (e *editor) bytes() []byte {
	v, rest, ok := sized(e.b)
	if !ok {
		e.err, e.b = errEdit, nil
		return nil
	}
	e.b = rest
	return v
}

func (e *editor) file(tag uint64) {
	e.number() // level
	f := LiveFile{Number: e.number()}
	if tag == editNewFile3 {
		e.number() // path
	}
	f.Size = e.number()
	for _, k := range []*[]byte{&f.Smallest, &f.Largest} {
		user, _, _, ok := split(e.bytes())
		if !ok && e.err == nil {
			e.err = errEdit
		}
		*k = append([]byte(nil), user...)
	}
	if tag != editNewFile {
		e.number()
		f.MaxSeq = e.number()
	}
	for tag == editNewFile4 && e.err == nil {
		if e.number() == 1 { // the end of what else is told
			break
		}
		e.bytes()
	}
	e.added = append(e.added, f)
}

// CurrentName returns the manifest's name out of what CURRENT holds.
func CurrentName(current []byte) (string, bool) {
	name, ok := strings.CutSuffix(string(current), "\n")
	digits := strings.TrimPrefix(name, "MANIFEST-")
	return name, ok && digits != "" && digits != name && strings.Trim(digits, "0123456789") == ""
}
