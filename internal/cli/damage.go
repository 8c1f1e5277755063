package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Damage gathers what could not be read, for the exit code and the report.
type Damage struct {
	Factory *Factory
	Places  []BadPlace
	Torn    string
	lost    int64
	first   error
}

// BadPlace is a place of a log that could not be read.
type BadPlace struct {
	Place string `json:"place"`
	Cause string `json:"cause"`
	Lost  int64  `json:"lost"` // records; −1 = unknown
}

// maxBadPlaces bounds the list of a hopeless log; all are counted.
const maxBadPlaces = 1000

// See sorts a read error: io.EOF and a torn tail end the read well, a corrupt
// place is noted and reading goes on, anything else is returned.
func (d *Damage) See(err error) (more bool, fatal error) {
	var corrupt *source.CorruptError
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case errors.As(err, &corrupt):
		if d.first == nil {
			d.first = err
		}
		if len(d.Places) < maxBadPlaces {
			d.Places = append(d.Places, BadPlace{corrupt.Place, fmt.Sprint(corrupt.Cause), corrupt.Lost})
			d.Factory.Notef("corrupt: %v", err)
		}
		d.lost++
		return true, nil
	case errors.Is(err, source.ErrTornTail):
		d.Torn = err.Error()
		d.Factory.Notef("note: %v; everything before it was read", err)
		return false, nil
	}
	return false, err
}

// Err is the error that what was seen amounts to; nil where all was read.
func (d *Damage) Err() error {
	if d.first == nil {
		return nil
	}
	if d.lost == 1 {
		return Reported(d.first)
	}
	return fmt.Errorf("%d places could not be read, the first: %w", d.lost, d.first)
}

// Watched lets damage see what a pass reads over.
type Watched struct {
	source.ColumnReader
	Damage *Damage
}

// NextColumns implements source.ColumnReader.
func (w *Watched) NextColumns(ctx context.Context) (*message.Columns, error) {
	c, err := w.ColumnReader.NextColumns(ctx)
	if err != nil {
		_, _ = w.Damage.See(err)
	}
	return c, err
}
