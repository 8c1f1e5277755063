package kafka

import (
	"context"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Files is the backend of a broker's log directory as the door opens it.
func Files() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(ctx context.Context, place string, o source.Options) (source.Source, error) {
			s, err := Open(ctx, place, o.Log, o.PChannel, Options{IncludeDeleted: o.IncludeDeleted})
			if err != nil {
				return nil, err // never a nil *Disk in the interface
			}
			return s, nil
		},
	}
}

func logs(ctx context.Context, dir string, _ source.Options) ([]source.Log, error) {
	found, err := find(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := make([]source.Log, len(found))
	for i, p := range found {
		out[i] = p.word()
	}
	return out, nil
}

// sniff tells a segment by its first batch, and a directory by its segments' names one or
// two levels below.
func sniff(l source.Look) source.Claim {
	if !l.Dir {
		if len(l.Head) < headerSize {
			return source.Claim{}
		}
		h := parse(l.Head, 0)
		return source.Claim{Sure: h.version == version && h.base >= 0 && h.length >= headerSize-lengthEnd && h.sane(h.end) && h.end <= maxBatch}
	}
	found, err := find(context.Background(), l.Path)
	return source.Claim{Sure: err == nil && len(found) > 0}
}
