package cli

import (
	"context"
	"fmt"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// HeldOf is how much of its log a copy holds; nil for a log that is its own
// origin, and where that cannot be told.
func HeldOf(s source.Source) *render.Held {
	copied, ok := source.As[source.ExtentSource](s)
	if !ok {
		return nil
	}
	e, err := copied.Extent(context.Background()) // it is asked of what was read already
	if err != nil {
		return nil
	}
	h := &render.Held{Whole: e.Whole, Ended: string(e.Ended), Detail: e.Detail, Resume: e.Resume}
	for _, p := range []struct {
		into *string
		id   interface {
			IsZero() bool
			String() string
		}
	}{{&h.From, e.Start}, {&h.To, e.Last}, {&h.Of, e.End}} {
		if !p.id.IsZero() {
			*p.into = p.id.String()
		}
	}
	if with, ok := source.As[source.PayloadSource](s); ok && h.To != "" {
		has, err := with.HasPayload()
		h.NoPayload = err == nil && !has
	}
	return h
}

// NotWhole is the exit code's share of a copy that does not hold its whole log,
// for answers that depend on where the log ends; the copy's note has told it. A
// range that names its end, or a number of records, asks for no more than that.
func NotWhole(s source.Source, asked source.Range) error {
	h := HeldOf(s)
	if h == nil || h.Whole || asked.To.Kind != source.Unbounded || asked.Limit > 0 {
		return nil
	}
	return Reported(fmt.Errorf("%w: %s", ErrPartial, h.Detail))
}

// noteHeld tells the person once what a copy does not hold.
func (f *Factory) noteHeld(s source.Source) {
	h := HeldOf(s)
	for _, words := range heldWords(h) {
		f.Notef("note: %s: %s", render.Clean(nameOf(s)), render.Clean(words))
	}
}

// heldWords say what a copy does not hold.
func heldWords(h *render.Held) (words []string) {
	if h == nil {
		return nil
	}
	if w := h.Words(); w != "" {
		words = append(words, w)
	}
	if h.NoPayload {
		words = append(words, "the archive is without payload/: what messages carry cannot be read or checked")
	}
	return words
}

func nameOf(s source.Source) string {
	d := s.Describe()
	if d.PChannel != "" {
		return d.PChannel
	}
	return d.Location
}

// CatalogMissing says that an archive has no catalog beside its log, and why; ""
// where it has one, and for any other log.
func CatalogMissing(s source.Source) string {
	with, ok := source.As[source.EvidenceSource](s)
	if !ok {
		return ""
	}
	for _, e := range with.Evidence() {
		switch e.Name {
		case source.EvidenceCatalog:
			return ""
		case source.EvidenceCatalogError:
			return "no catalog was captured with it (" + e.Provenance["error"] + "); --catalog names one"
		}
	}
	return "no catalog was captured with it; --catalog names one"
}
