package source

import "context"

// ByteCheck is a check of a source's bytes that runs beside whatever else reads it.
// Whoever starts one stops it.
type ByteCheck struct {
	stop  context.CancelFunc
	done  chan struct{}
	found []*Damage
	err   error
}

// CheckBytes starts checking a source's bytes; of one that keeps no sums of them
// nothing is found.
func CheckBytes(ctx context.Context, s Source) *ByteCheck {
	ctx, stop := context.WithCancel(ctx)
	c := &ByteCheck{stop: stop, done: make(chan struct{})}
	with, ok := As[ByteVerifier](s)
	if !ok {
		close(c.done)
		return c
	}
	go func() {
		defer close(c.done)
		c.found, c.err = with.VerifyBytes(ctx, nil)
	}()
	return c
}

// Wait waits for what was found.
func (c *ByteCheck) Wait() ([]*Damage, error) {
	<-c.done
	return c.found, c.err
}

// Stop ends the check where it is not through, and waits for it.
func (c *ByteCheck) Stop() {
	c.stop()
	<-c.done
}
