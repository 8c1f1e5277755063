package pulsar

import (
	"context"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Backend is this backend as the door opens it: a place is a topic of the broker
// that Options.Live names.
func Backend() source.Backend {
	return source.Backend{
		Kind:    "pulsar",
		Schemes: []string{"pulsar://", "pulsar+ssl://", "persistent://", "non-persistent://"},
		Logs:    logs,
		Open: func(ctx context.Context, topic string, o source.Options) (source.Source, error) {
			cfg := configOf(o.Live)
			cfg.Topic = topic
			s, err := Open(ctx, cfg)
			if err != nil {
				return nil, err // never a nil *Source in the interface
			}
			return s, nil
		},
		Probe: func(ctx context.Context, o source.Options) (source.Reach, error) { return Probe(ctx, configOf(o.Live)) },
	}
}

// logs lists the topics of the namespace, called as Milvus calls their pchannels.
func logs(ctx context.Context, _ string, o source.Options) ([]source.Log, error) {
	topics, err := ListTopics(ctx, configOf(o.Live))
	if err != nil {
		return nil, err
	}
	out := make([]source.Log, len(topics))
	for i, t := range topics {
		out[i] = source.Log{ID: t, Name: Unpartitioned(t[strings.LastIndexByte(t, '/')+1:])}
	}
	return out, nil
}

func configOf(l *source.Live) Config {
	if l == nil {
		return Config{}
	}
	return Config{
		ServiceURL: l.Service, AdminURL: l.Admin, Tenant: l.Tenant, Namespace: l.Namespace,
		TLSTrustCerts: l.TLSCA, TLSCert: l.TLSCert, TLSKey: l.TLSKey,
		TokenFile: l.TokenFile, Token: l.Token,
		SubscriptionPrefix: l.Subscription, ListenerName: l.Listener,
		Parallel: l.Parallel, RateBytes: l.RateBytes,
		Touch: l.Touch, TopicExists: l.Exists,
		Patience: l.Patience, Waiting: l.Waiting,
	}
}
