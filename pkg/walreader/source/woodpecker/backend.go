package woodpecker

import (
	"bytes"
	"context"
	"path/filepath"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Backend is this backend as the door opens it.
func Backend() source.Backend {
	return source.Backend{
		Kind: Kind, Sniff: sniff, Logs: logs,
		Open: func(ctx context.Context, place string, o source.Options) (source.Source, error) {
			s, err := Open(ctx, place, Log{Name: o.Log.Name, ID: o.Log.ID}, o.PChannel)
			if err != nil {
				return nil, err // never a nil *Source in the interface
			}
			return s, nil
		},
	}
}

func logs(ctx context.Context, dir string, _ source.Options) ([]source.Log, error) {
	found, err := Logs(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := make([]source.Log, len(found))
	for i, l := range found {
		out[i] = source.Log{Name: l.Name, ID: l.ID}
	}
	return out, nil
}

// sniff tells a segment's file by its first record, and a directory by the names of the
// files a few levels below: nothing else is laid out so.
func sniff(l source.Look) source.Claim {
	if !l.Dir {
		at := frameSize + magicHeaderAt
		return source.Claim{Sure: len(l.Head) >= at && bytes.HasPrefix(l.Head[at:], []byte(magicHeader))}
	}
	for depth, deep := 0, ""; depth <= 2; depth, deep = depth+1, deep+"*/" {
		for _, name := range []string{dataLog, footerBlk, "0.blk", merged + "0.blk"} {
			if hits, _ := filepath.Glob(filepath.Join(l.Path, deep+name)); len(hits) > 0 {
				return source.Claim{Sure: true}
			}
		}
	}
	found, err := below(context.Background(), l.Path)
	return source.Claim{Maybe: err == nil && len(found) > 0}
}
