package walreader

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/rocksmq"
	"github.com/walctl/walctl/pkg/walreader/source/woodpecker"
)

// Backends is the one list of the kinds of places a log can lie in. The first that is
// sure of a place has it. To add one: its folder, and its line here.
func Backends() []source.Backend {
	return []source.Backend{
		archive.Backend(),
		woodpecker.Backend(),
		unsupported("bookkeeper", isBookKeeper),
		rocksmq.Backend(),
		pulsar.Backend(),
		jsonl.Backend(),
	}
}

// BackendOf finds the backend that a URL belongs to by its scheme.
func BackendOf(all []source.Backend, url string) (source.Backend, bool) {
	for _, b := range all {
		for _, scheme := range b.Schemes {
			if strings.HasPrefix(url, scheme) {
				return b, true
			}
		}
	}
	return source.Backend{}, false
}

// unsupported is a backend that is recognised and cannot be read yet.
func unsupported(kind string, is func(source.Look) bool) source.Backend {
	return source.Backend{
		Kind:  kind,
		Sniff: func(l source.Look) source.Claim { return source.Claim{Sure: is(l)} },
		Open: func(_ context.Context, place string, _ source.Options) (source.Source, error) {
			return nil, &SpecError{Spec: place, Reason: fmt.Sprintf("%s disks are not supported in this version; read the live log, or an archive of it", kind)}
		},
	}
}

func isBookKeeper(l source.Look) bool {
	if l.Dir {
		return holds(l.Path, "current/*.txn", "current/lastMark", "lastMark")
	}
	return bytes.HasPrefix(l.Head, []byte("BKLO")) || bytes.HasPrefix(l.Head, []byte("BKLG")) // entry log, journal
}

// holds reports whether a directory has a file of one of these patterns.
func holds(dir string, patterns ...string) bool {
	for _, p := range patterns {
		if hits, _ := filepath.Glob(filepath.Join(dir, p)); len(hits) > 0 {
			return true
		}
	}
	return false
}
