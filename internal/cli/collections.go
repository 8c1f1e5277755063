package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// NameCollections turns the names among --collection into ids: those the catalog
// calls so, or else those a CreateCollection of the log does. A name may stand for
// several ids, of collections dropped and made again.
func (f *Factory) NameCollections(ctx context.Context, flags *FilterFlags, s source.Source, c CatalogFlags) error {
	var ids, names []string
	for _, v := range flags.Collections {
		if _, err := strconv.ParseInt(v, 10, 64); err == nil {
			ids = append(ids, v)
		} else {
			names = append(names, v)
		}
	}
	if len(names) == 0 {
		return nil
	}
	known, err := f.namesInCatalog(ctx, s, c)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(names, func(n string) bool { return len(known[n]) == 0 }) {
		if known, err = namesInLog(ctx, s, known); err != nil {
			return err
		}
	}
	for _, n := range names {
		if len(known[n]) == 0 {
			return fmt.Errorf("%w: no collection is called %q in the catalog or the log; give its id", source.ErrNotFound, n)
		}
		ids = append(ids, known[n]...)
	}
	flags.Collections = ids
	return nil
}

// namesInCatalog is every collection's ids by name; none where no catalog answers.
func (f *Factory) namesInCatalog(ctx context.Context, s source.Source, c CatalogFlags) (map[string][]string, error) {
	out := map[string][]string{}
	cat, err := f.OpenCatalog(ctx, c, s, false)
	if err == nil {
		defer cat.Close()
		var all map[int64]*catalog.Collection
		all, _, err = catalog.Collections(ctx, cat)
		for id, one := range all {
			out[one.Name()] = append(out[one.Name()], strconv.FormatInt(id, 10))
		}
	}
	switch {
	case err == nil || errors.Is(err, ErrNoCatalog):
		return out, nil
	case ctx.Err() != nil || c.Spec != "":
		return nil, err
	}
	f.NoteOnce("note: names are looked up in the log alone: %v", err)
	return out, nil
}

// namesInLog adds what the log's CreateCollection messages say.
func namesInLog(ctx context.Context, s source.Source, known map[string][]string) (map[string][]string, error) {
	if s.Describe().Location == StdinName {
		return nil, Usagef("a log on standard input can't be searched for a collection's name first; give the id, or save it to a file")
	}
	r, err := s.Open(ctx, source.Range{Payload: source.PayloadDDL})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		m, err := r.Next(ctx)
		var corrupt *source.CorruptError
		switch {
		case errors.As(err, &corrupt):
			continue
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil: // the end, torn or not: the command itself reads and tells
			return known, nil
		case m.Type != message.TypeCreateCollection:
			continue
		}
		name := ""
		if schema, err := m.Schema(); err == nil {
			name = schema.GetName()
		}
		if body, err := message.BodyAs[*msgpb.CreateCollectionRequest](m); err == nil && name == "" {
			name = body.GetCollectionName()
		}
		if id := strconv.FormatInt(m.Collection, 10); name != "" && !slices.Contains(known[name], id) {
			known[strings.Clone(name)] = append(known[name], id)
		}
	}
}
