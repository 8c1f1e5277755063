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
	e.Path = evidenceDir(w.opt.PChannel) + "/" + e.Name
	e.Bytes, e.Hash = int64(len(content)), fmt.Sprintf("%016x", xxhash.Sum64(content))
	e.Provenance = maps.Clone(e.Provenance)
	if err := storeFile(w.fsys, e.Path, content); err != nil {
		return fmt.Errorf("evidence %s: %w", e.Name, err)
	}
	next := *w.m
	next.Evidence = slices.DeleteFunc(slices.Clone(w.m.Evidence), func(o Evidence) bool { return o.Name == e.Name })
	next.Evidence = append(next.Evidence, e)
	return w.store(&next)
}
