package pulsar

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Evidence is what the admin port said of a topic, word for word.
type Evidence struct {
	Topic   string
	At      time.Time
	Answers map[string]json.RawMessage // by call; null where nothing is set
	Errors  map[string]string          // of calls that brought no answer
}

// MetadataEvidence asks what does not load the topic: its metadata and the
// policies that apply to it. p is what they mean; where it could not be read,
// Errors says why under "protection".
func (s *Source) MetadataEvidence(ctx context.Context) (e Evidence, p Protection) {
	err := errAdminClosed
	if s.open { // first: it settles the policies, so that nothing below loads anything
		p, err = s.Protection(ctx)
	}
	e = s.ask(ctx, map[string]string{
		"internal-info":       s.admin.topicPath() + "/internal-info",
		"retention applied":   s.admin.policyPath() + "/retention?applied=true",
		"retention topic":     s.admin.policyPath() + "/retention",
		"retention namespace": "namespaces/" + s.admin.namespacePath() + "/retention",
		"message TTL applied": s.admin.policyPath() + "/messageTTL?applied=true",
	})
	if err != nil {
		e.Errors["protection"] = err.Error()
	}
	return e, p
}

// StatsEvidence asks for the topic's statistics. It loads the topic: only for
// one that a reader of this source has loaded already.
func (s *Source) StatsEvidence(ctx context.Context) Evidence {
	return s.ask(ctx, map[string]string{
		"stats":          s.admin.topicPath() + "/stats",
		"internal stats": s.admin.topicPath() + "/internalStats",
	})
}

func (s *Source) ask(ctx context.Context, calls map[string]string) Evidence {
	e := Evidence{Topic: s.cfg.name(), At: time.Now().UTC(), Answers: map[string]json.RawMessage{}, Errors: map[string]string{}}
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
