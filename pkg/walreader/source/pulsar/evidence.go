package pulsar

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Metadata implements source.WitnessSource. It asks what does not load the topic: its metadata and the
// policies that apply to it. p is what they mean; where it could not be read,
// Errors says why under "protection".
func (s *Source) Metadata(ctx context.Context) (source.Testimony, source.Protection) {
	var p protection
	err := errAdminClosed
	if s.open { // first: it settles the policies, so that nothing below loads anything
		p, err = s.askProtection(ctx)
	}
	e := s.ask(ctx, map[string]string{
		"internal-info":       s.admin.topicPath() + "/internal-info",
		"retention applied":   s.admin.policyPath() + "/retention?applied=true",
		"retention topic":     s.admin.policyPath() + "/retention",
		"retention namespace": "namespaces/" + s.admin.namespacePath() + "/retention",
		"message TTL applied": s.admin.policyPath() + "/messageTTL?applied=true",
	})
	if err != nil {
		e.Errors["protection"] = err.Error()
	}
	return e, s.told(p)
}

// Stats implements source.WitnessSource: the topic's statistics. It loads the topic: only for
// one that a reader of this source has loaded already.
func (s *Source) Stats(ctx context.Context) source.Testimony {
	return s.ask(ctx, map[string]string{
		"stats":          s.admin.topicPath() + "/stats",
		"internal stats": s.admin.topicPath() + "/internalStats",
	})
}

func (s *Source) ask(ctx context.Context, calls map[string]string) source.Testimony {
	e := source.Testimony{Kind: "pulsar-admin", Topic: s.cfg.name(), At: time.Now().UTC(), Answers: map[string]json.RawMessage{}, Errors: map[string]string{}}
	var closed error // waiting for a port that never answers is worth doing once
	if !s.open {
		closed = errAdminClosed
	}
	for name, path := range calls {
		var answer json.RawMessage
		err := closed
		if err == nil {
			err = s.admin.get(ctx, path, &answer)
		}
		if err != nil {
			e.Errors[name] = err.Error()
			var status *statusError
			if errors.Is(err, errAdminClosed) && !errors.As(err, &status) {
				closed = err
			}
			continue
		}
		if answer == nil {
			answer = json.RawMessage("null")
		}
		e.Answers[name] = answer
	}
	return e
}
