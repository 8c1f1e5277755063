package walreader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// boltMagic stands in a bbolt file at this offset.
const boltMagic, boltOffset = "\xed\xda\x0c\xed", 16

// Detect tells which backend a path belongs to by its content, never by its name;
// false without an error for what is no log.
func Detect(path string, all []source.Backend) (source.Backend, bool, error) {
	look, err := lookAt(path)
	if err != nil {
		return source.Backend{}, false, err
	}
	if len(look.Head) >= boltOffset && bytes.HasPrefix(look.Head[boltOffset:], []byte(boltMagic)) {
		return source.Backend{}, false, &SpecError{Spec: path, Reason: "is a bbolt file: a catalog, not a log; give it as --catalog file:… or snapshot:…"}
	}
	var maybe *source.Backend
	for i := range all {
		if all[i].Sniff == nil {
			continue
		}
		switch c := all[i].Sniff(look); {
		case c.Instead != "":
			return source.Backend{}, false, &SpecError{Spec: path, Reason: c.Instead}
		case c.Sure:
			return all[i], true, nil
		case c.Maybe && maybe == nil:
			maybe = &all[i]
		}
	}
	if maybe != nil {
		return *maybe, true, nil
	}
	return source.Backend{}, false, nil
}

// lookAt looks at a path without following what can be read only once.
func lookAt(path string) (source.Look, error) {
	l := source.Look{Path: path}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, fmt.Errorf("%w: %s does not exist", source.ErrNotFound, path)
	case err != nil:
		return l, fmt.Errorf("look at %s: %w", path, err)
	case st.IsDir():
		l.Dir = true
		_, err = os.ReadDir(path)
		if err != nil {
			err = fmt.Errorf("look at %s: %w", path, err)
		}
	case !st.Mode().IsRegular():
		l.Pipe = true
	default:
		l.Head, err = jsonl.Head(path)
	}
	return l, err
}
