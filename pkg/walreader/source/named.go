package source

import (
	"context"
	"errors"
	"io"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// peeked is how many messages are asked whose log they are.
const peeked = 1024

// NamedIn asks the first messages of a log for the pchannel they were written to, and
// returns the first that want accepts; "" where there is none among them.
func NamedIn(ctx context.Context, s Source, want func(pchannel string) bool) (string, error) {
	r, err := s.Open(ctx, Range{Limit: peeked})
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }() // only read
	name := ""
	err = Each(ctx, r, func(m *message.Message) error {
		if m.VChannel == "" || !want(message.PChannelOf(m.VChannel)) {
			return nil
		}
		name = message.PChannelOf(m.VChannel)
		return io.EOF
	}, func(*CorruptError) error { return nil })
	if errors.Is(err, io.EOF) || errors.Is(err, ErrTornTail) {
		return name, nil
	}
	return name, err
}
