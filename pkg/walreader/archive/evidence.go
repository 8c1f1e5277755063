package archive

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// AddEvidence stores a file of the same moment beside the log and names it in
// the manifest; one of the same name is replaced. name is a plain file name;
// Path, Bytes and Hash of e are filled in. The open segment stays open.
func (w *Writer) AddEvidence(e Evidence, content []byte) error {
	if w.err != nil {
		return w.err
	}
	if e.Name == "" || strings.ContainsAny(e.Name, `/\`) || strings.HasPrefix(e.Name, ".") {
		return fmt.Errorf("evidence %q: not a plain file name", e.Name)
	}
	e.Bytes, e.Hash = int64(len(content)), hashText(xxhash.Sum64(content))
	e.Path = evidenceDir(w.opt.PChannel) + "/" + e.Name
	old := ""
	for _, o := range w.m.Evidence {
		if o.Name == e.Name && o.Hash != e.Hash { // it must stay whole until the manifest names the new one
			old = o.Path
			e.Path = evidenceDir(w.opt.PChannel) + "/" + e.Hash + "-" + e.Name
		} else if o.Name == e.Name {
			e.Path = o.Path
		}
	}
	e.Provenance = maps.Clone(e.Provenance)
	if err := storeFile(w.fsys, e.Path, content); err != nil {
		return fmt.Errorf("evidence %s: %w", e.Name, err)
	}
	next := *w.m
	next.Evidence = slices.DeleteFunc(slices.Clone(w.m.Evidence), func(o Evidence) bool { return o.Name == e.Name })
	next.Evidence = append(next.Evidence, e)
	if err := w.store(&next); err != nil || old == "" || old == e.Path {
		return err
	}
	if err := w.fsys.Remove(old); err != nil {
		return fmt.Errorf("removing the evidence that was replaced: %w", err)
	}
	return nil
}

// DropEvidence takes a file out of the manifest, then off the disk. One that is
// not there is no error.
func (w *Writer) DropEvidence(name string) error {
	if w.err != nil {
		return w.err
	}
	next := *w.m
	next.Evidence = nil
	old := ""
	for _, e := range w.m.Evidence {
		if e.Name == name {
			old = e.Path
		} else {
			next.Evidence = append(next.Evidence, e)
		}
	}
	if old == "" {
		return nil
	}
	if err := w.store(&next); err != nil {
		return err
	}
	if err := w.fsys.Remove(old); err != nil {
		return fmt.Errorf("removing evidence: %w", err)
	}
	return nil
}

// Evidence implements source.EvidenceSource.
func (s *Source) Evidence() []source.Evidence {
	out := make([]source.Evidence, len(s.m.Evidence))
	for i, e := range s.m.Evidence {
		out[i] = source.Evidence{Name: e.Name, File: filepath.Join(s.dir, filepath.FromSlash(e.Path)),
			CapturedAt: e.CapturedAt, Provenance: e.Provenance}
	}
	return out
}

// ReadEvidence implements source.EvidenceSource. The error wraps ErrDamaged where
// the file is not what was written.
func (s *Source) ReadEvidence(name string) ([]byte, error) {
	for _, e := range s.m.Evidence {
		if e.Name != name {
			continue
		}
		b, err := s.fsys.ReadFile(e.Path)
		if err == nil && hashText(xxhash.Sum64(b)) != e.Hash {
			err = fmt.Errorf("%w: checksum differs", ErrDamaged)
		}
		if err != nil {
			return nil, fmt.Errorf("evidence %s: %w", e.Path, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("evidence %s: %w", name, source.ErrNotFound)
}
