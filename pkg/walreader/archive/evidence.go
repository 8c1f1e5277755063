package archive

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// CatalogName is the evidence that holds the catalog captured with a log: JSON,
// key relative to the metadata root → base64 of its value.
const CatalogName = "catalog.json"

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
