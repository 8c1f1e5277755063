package source

import (
	"context"
	"errors"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// ScanningSource is a source without an index: NDJSON. Its Bounds read it from end
// to end, so whoever has read it goes by what was met instead of asking again.
type ScanningSource interface {
	Source
	BoundsByReading() bool
}

// BoundsByReading reports whether a source's Bounds read all of it.
func BoundsByReading(s Source) bool {
	scanning, ok := As[ScanningSource](s)
	return ok && scanning.BoundsByReading()
}

// FirstID reads up to the first record that can be read. Errors are those of Open
// and of the reader, io.EOF where there is none.
func FirstID(ctx context.Context, s Source) (message.ID, error) {
	r, err := s.Open(ctx, Range{})
	if err != nil {
		return message.ID{}, err
	}
	defer func() { _ = r.Close() }() // only read
	for {
		m, err := r.Next(ctx)
		var corrupt *CorruptError
		switch {
		case err == nil:
			return m.ID, nil
		case !errors.As(err, &corrupt):
			return message.ID{}, err
		}
	}
}
