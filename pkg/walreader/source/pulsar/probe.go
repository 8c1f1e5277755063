package pulsar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// probeWithin bounds each question of a probe.
const probeWithin = 3 * time.Second

// Probe asks a broker for what every command needs, all at once. It loads no
// topic. The error is that of a Config which cannot be used at all.
func Probe(ctx context.Context, cfg Config) (source.Reach, error) {
	cfg.FirstContact = 2 * probeWithin // each port has half of it
	cfg, err := cfg.withDefaults()
	if err != nil {
		return source.Reach{}, err
	}
	a, err := newAdmin(cfg)
	if err != nil {
		return source.Reach{}, err
	}
	defer a.close()
	ctx, cancel := context.WithTimeout(ctx, 2*probeWithin)
	defer cancel()
	s := &Source{cfg: cfg, admin: a, waits: &waits{}}
	r := source.Reach{AdminURL: cfg.AdminURL}
	var asked sync.WaitGroup
	asked.Go(func() { r.Service = s.welcome(ctx) })
	asked.Go(func() {
		names, err := a.topics(ctx)
		r.Topics, r.Admin = len(names), cfg.inWords(err)
	})
	asked.Go(func() {
		_, err := a.namespaceRetention(ctx)
		r.Retention = cfg.inWords(err)
	})
	asked.Wait()
	return r, nil
}

// inWords is an answer of the admin port without what it was asked for; nil where
// it merely holds no such thing.
func (c Config) inWords(err error) error {
	var status *statusError
	var unreached *ReachError
	switch denied := c.denied(err); {
	case denied != nil:
		return denied
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return nil
	case forbidden(err):
		return fmt.Errorf("%w: %s; Pulsar keeps this for administrators of the tenant", source.ErrDenied, status.Reason)
	case errors.As(err, &unreached):
		return unreached
	}
	return err
}

// welcome reports whether one of the brokers takes the credentials.
func (s *Source) welcome(ctx context.Context) error {
	if err := s.hello(ctx); err != nil {
		return err
	}
	for _, host := range s.cfg.hosts() {
		conn, err := s.greet(ctx, host)
		if err != nil {
			continue
		}
		got, err := readGreeting(conn)
		_ = conn.Close()
		if command, ok := got.command(); err == nil && ok && command == commandError {
			return fmt.Errorf("%s is a broker, but %s", host, s.cfg.refusedToken(time.Now()))
		}
		return nil
	}
	return nil
}
