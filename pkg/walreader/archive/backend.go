package archive

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Backend is this backend as the door opens it.
func Backend() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(ctx context.Context, place string, o source.Options) (source.Source, error) {
			s, err := Open(ctx, place, Options{PChannel: o.Log.Name})
			if err != nil {
				return nil, err // never a nil *Source in the interface
			}
			return s, nil
		},
	}
}

func sniff(l source.Look) source.Claim {
	switch {
	case l.Dir:
		return source.Claim{Sure: Detect(l.Path), Maybe: bare(l.Path)}
	case bytes.HasPrefix(l.Head, []byte("PAR1")):
		return source.Claim{Instead: "is a Parquet file; name the archive's directory"}
	}
	return source.Claim{}
}

// bare recognises an archive whose manifest is gone; its reader says what is missing.
func bare(dir string) bool {
	hits, _ := filepath.Glob(filepath.Join(dir, "*", "pchannel=*"))
	return slices.ContainsFunc(hits, func(p string) bool {
		return slices.Contains([]string{"index", "payload", "evidence"}, filepath.Base(filepath.Dir(p)))
	})
}

func logs(_ context.Context, dir string, _ source.Options) ([]source.Log, error) {
	names, err := pchannels(Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("opening the archive %s: %w", dir, err)
	}
	out := make([]source.Log, len(names))
	for i, n := range names {
		out[i].Name = n
	}
	return out, nil
}
