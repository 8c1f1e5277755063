package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// Scheme begins the URL of brokers.
const Scheme = "kafka://"

// port is where a broker listens unless its URL says otherwise.
const port = "9092"

// How long a first answer is waited for, and how much is asked for at a time.
const (
	contactWithin = 10 * time.Second
	fetchBytes    = 8 << 20
	readBytes     = 128 << 20 // a broker hands a larger batch over whole
)

// clientID is what a broker sees of a reader.
const clientID = "walctl"

// Live is one topic on running brokers. It joins no group and makes nothing.
type Live struct {
	topic  string
	cfg    source.Live
	seeds  []string
	client *kgo.Client // for questions; a reader has its own
	parts  int
}

// Brokers is the backend of running brokers as the door opens it: a place is a topic of
// those that Options.Live names.
func Brokers() source.Backend {
	return source.Backend{
		Kind: Kind, Schemes: []string{Scheme},
		Open: func(ctx context.Context, topic string, o source.Options) (source.Source, error) {
			if o.Live == nil {
				return nil, errors.New("open a Kafka topic: no brokers given")
			}
			s, err := Connect(ctx, topic, *o.Live)
			if err != nil {
				return nil, err // never a nil *Live in the interface
			}
			return s, nil
		},
	}
}

// Connect makes first contact with a topic. Errors wrap source.ErrNotFound,
// source.ErrDenied and source.ErrUnavailable.
func Connect(ctx context.Context, topic string, cfg source.Live) (*Live, error) {
	s := &Live{topic: topic, cfg: cfg}
	for _, host := range strings.Split(strings.TrimPrefix(cfg.Service, Scheme), ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		s.seeds = append(s.seeds, host)
	}
	var err error
	if s.client, err = s.dial(); err != nil {
		return nil, fmt.Errorf("reach Kafka at %s: %w", s.cfg.Service, err)
	}
	if err := s.exists(ctx); err != nil {
		s.client.Close()
		return nil, err
	}
	return s, nil
}

// dial makes a client. It connects when it is asked something.
func (s *Live) dial(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.seeds...), kgo.ClientID(clientID), kgo.DisableClientMetrics(), kgo.DialTimeout(contactWithin / 2),
		kgo.RetryTimeout(contactWithin / 2), kgo.BrokerMaxReadBytes(readBytes), kgo.MetadataMinAge(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 250 * time.Millisecond }),
	}, more...)...)
}

// exists asks for the topic before anything else does: what Kafka is asked for in other
// ways it may create.
func (s *Live) exists(ctx context.Context) error {
	topics, err := s.topics(ctx, s.topic)
	if err != nil {
		return err
	}
	for _, t := range topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			return s.missing(ctx)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			return fmt.Errorf("%w: %s says that this user may not describe the topic %s: grant DESCRIBE and READ on it", source.ErrDenied, s.cfg.Service, s.topic)
		case err != nil && !kerr.IsRetriable(err):
			return s.failed("look for the topic", err)
		}
		s.parts = len(t.Partitions)
	}
	return nil
}

// topics asks for the metadata of topics, of all where none is named; none is created.
func (s *Live) topics(ctx context.Context, names ...string) ([]kmsg.MetadataResponseTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, contactWithin)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return nil, s.failed("ask for its topics", err)
	}
	return resp.Topics, nil
}

// missing says that the topic is not there, and which are.
func (s *Live) missing(ctx context.Context) error {
	all, err := s.topics(ctx)
	var names, likely []string
	for _, t := range all {
		if t.Topic == nil || t.IsInternal || strings.HasPrefix(*t.Topic, "__") {
			continue
		}
		if names = append(names, *t.Topic); pchannel(*t.Topic) {
			likely = append(likely, *t.Topic)
		}
	}
	there := "it has no topic at all"
	switch {
	case err != nil:
		there = "its other topics could not be asked for"
	case len(likely) > 0:
		there = "those called like a pchannel are " + few(likely)
	case len(names) > 0:
		there = "it has " + few(names) + ", and none is called like a pchannel"
	}
	return fmt.Errorf("%w: %s has no topic %s, and walctl creates none; %s", source.ErrNotFound, s.cfg.Service, s.topic, there)
}

// pchannel reports whether a topic is called as Milvus calls its pchannels: …dml_N.
func pchannel(topic string) bool {
	i := strings.LastIndexByte(topic, '_')
	return i > 0 && i < len(topic)-1 && strings.Trim(topic[i+1:], "0123456789") == "" && strings.HasSuffix(topic[:i], "dml")
}

func few(names []string) string {
	if len(names) > 6 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}

// failed says what did not work, and what helps.
func (s *Live) failed(what string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("%w: %s: %s: %s", source.ErrDenied, s.cfg.Service, what, words(err))
	case errors.As(err, new(*kerr.Error)):
		return fmt.Errorf("%s: %s: the broker says %s", s.cfg.Service, what, words(err))
	}
	return fmt.Errorf("%w: %s: %s: %s; is it a Kafka broker without TLS, and does the address it advertises lead to it from here?", source.ErrUnavailable, s.cfg.Service, what, words(err))
}

// words are a client's error in ours.
func words(err error) string {
	var broker *kerr.Error
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &broker):
		return broker.Message
	case errors.As(err, &dns):
		return "the name " + dns.Name + " is not known here"
	case errors.As(err, &op):
		return fmt.Sprintf("%s %s: %v", op.Op, op.Addr, op.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", contactWithin)
	}
	return err.Error()
}

// Describe implements source.Source.
func (s *Live) Describe() source.Description {
	return source.Description{Kind: Kind, Location: s.location(), PChannel: s.topic, Backend: message.BackendKafka}
}

func (s *Live) location() string { return s.cfg.Service + "/" + s.topic }

// Partitioned implements source.PartitionedSource.
func (s *Live) Partitioned() string {
	if s.parts < 2 {
		return ""
	}
	return fmt.Sprintf("the topic %s has %d partitions; Milvus writes into the first alone, and that is what is read", s.topic, s.parts)
}

// Producers implements source.ProducerSource.
func (s *Live) Producers(context.Context) ([]string, error) {
	return nil, fmt.Errorf("producers: Kafka does not tell who writes to %s", s.location())
}

// The times that stand for a partition's ends (wire format).
const (
	atStart = -2
	atEnd   = -1
)

// committed is the isolation in which a reader of Milvus's reads (wire format).
const committed = 1

// edge asks for an end of the partition: its first offset, or the one after its last.
func (s *Live) edge(ctx context.Context, which int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, contactWithin)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, committed
	t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	t.Topic, p.Timestamp = s.topic, which
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return 0, s.failed("ask for the ends of "+s.topic, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, s.failed("ask for the ends of "+s.topic, errors.New("it gave no answer"))
	}
	answer := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return 0, s.failed("ask for the ends of "+s.topic, err)
	}
	return answer.Offset, nil
}

// edges asks for both ends.
func (s *Live) edges(ctx context.Context) (start, end int64, err error) {
	if start, err = s.edge(ctx, atStart); err == nil {
		end, err = s.edge(ctx, atEnd)
	}
	return start, max(end, start), err
}

// Bounds implements source.Source.
func (s *Live) Bounds(ctx context.Context) (source.Bounds, error) {
	start, end, err := s.edges(ctx)
	if err != nil || start == end {
		return source.Bounds{Empty: true, Records: -1}, err
	}
	return source.Bounds{First: id(start), Last: id(end - 1), Records: -1}, nil
}

// Open implements source.Source. The end is that of the topic now.
func (s *Live) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	return s.open(ctx, r, false)
}

// Follow implements source.FollowSource.
func (s *Live) Follow(ctx context.Context, r source.Range) (source.Reader, error) {
	return s.open(ctx, r, true)
}

func (s *Live) open(ctx context.Context, r source.Range, follow bool) (source.Reader, error) {
	sel, err := selector.New(r)
	if err != nil {
		return nil, err
	}
	if err := sel.Adapt(message.BackendKafka); err != nil {
		return nil, err
	}
	start, end, err := s.edges(ctx)
	if err != nil {
		return nil, err
	}
	rd := &liveReader{s: s, rng: r, at: start, to: end, follow: follow}
	if f := r.From; f.Kind == source.AtID {
		rd.at = max(start, min(f.ID.A, end)+min(2*f.Offset, 0))
		if f.ID == message.LatestID() {
			rd.at = end
		}
	}
	if t := r.To; t.Kind == source.AtID && t.Offset == 0 && t.ID.A >= 0 && t.ID.A < end {
		rd.to = t.ID.A + 1
	}
	rd.dec.Dec.PChannel = s.topic
	rd.Begin(sel, rd.step, rd.free)
	return rd, nil
}

// Close implements source.Source. Readers are closed on their own.
func (s *Live) Close() error {
	s.client.Close()
	return nil
}

var (
	_ source.FollowSource      = (*Live)(nil)
	_ source.ProducerSource    = (*Live)(nil)
	_ source.PartitionedSource = (*Live)(nil)
	_ source.StartSource       = (*Disk)(nil)
)
