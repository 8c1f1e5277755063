package bookkeeper

import (
	"context"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Backend is this backend as the door opens it.
func Backend() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(ctx context.Context, place string, o source.Options) (source.Source, error) {
			s, err := Open(ctx, place, o.Log, Options{IncludeDeleted: o.IncludeDeleted})
			if err != nil {
				return nil, err // never a nil *Source in the interface
			}
			return s, nil
		},
	}
}

func logs(ctx context.Context, place string, _ source.Options) ([]source.Log, error) {
	s, err := scan(ctx, place)
	if err != nil {
		return nil, err
	}
	defer s.release()
	if err := s.usable(); err != nil {
		return nil, err
	}
	out := make([]source.Log, len(s.logs))
	for i, l := range s.logs {
		out[i] = l.word()
	}
	return out, nil
}
