package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaVersion is the broker scripts/fetch-kafka brings.
const kafkaVersion = "3.9.1"

// kafkaCluster is the id of a cluster of one broker.
const kafkaCluster = "walctlAAAAAAAAAAAAAAAA"

// Kafka is a Kafka broker for tests.
type Kafka struct {
	Addr string // 127.0.0.1:port
	process
}

// URL is how walctl names it.
func (k *Kafka) URL() string { return "kafka://" + k.Addr }

// Disk is its log directory.
func (k *Kafka) Disk() string { return filepath.Join(k.dir, "data") }

// LaunchKafka starts a broker with its data under dir and waits until it answers. The
// caller stops it.
func LaunchKafka(ctx context.Context, dir string) (*Kafka, error) {
	jars, err := kafkaJars()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	k := &Kafka{Addr: "127.0.0.1:" + ports[0]}
	conf := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(conf, []byte(strings.NewReplacer("BROKER", ports[0], "CONTROLLER_PORT", ports[1], "DATA", filepath.Join(dir, "data")).Replace(kafkaConf)), 0o600); err != nil {
		return nil, err
	}
	java := []string{"-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*")}
	format := exec.CommandContext(ctx, "java", append(slices.Clone(java), "kafka.tools.StorageTool", "format", "-t", kafkaCluster, "-c", conf)...)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's disk: %w: %.2000s", err, out)
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return nil, err
	}
	k.process = process{dir: dir, path: path, args: append(java, "kafka.Kafka", conf), env: os.Environ()}
	if err := k.Restart(ctx); err != nil {
		k.Kill()
		return nil, err
	}
	return k, nil
}

// kafkaConf is a broker and controller in one, which flushes nothing by itself and makes
// whatever topic it is asked for.
const kafkaConf = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:BROKER,CONTROLLER://127.0.0.1:CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:BROKER
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=DATA
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
message.max.bytes=10485760
log.retention.hours=-1
auto.create.topics.enable=true
num.network.threads=2
num.io.threads=2
log.cleaner.enable=false
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
`

// Restart starts the broker again on the same ports and disk, stopping it first where
// it runs, and waits until it answers.
func (k *Kafka) Restart(ctx context.Context) error { return k.restart(ctx, k.healthy) }

func (k *Kafka) healthy(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", k.Addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client, err := k.client()
	if err != nil {
		return false
	}
	defer client.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	return err == nil && len(resp.Brokers) > 0
}

// kafkaJars finds what scripts/fetch-kafka fetched.
func kafkaJars() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("no java: run scripts/fetch-kafka: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kafka-"+kafkaVersion)
	if _, err := os.Stat(filepath.Join(dir, "kafka_2.13-"+kafkaVersion+".jar")); err != nil {
		return "", fmt.Errorf("no Kafka: run scripts/fetch-kafka: %w", err)
	}
	return dir, nil
}

// oneKafka is the one broker of a test process.
var oneKafka struct {
	sync.Mutex
	broker *Kafka
	dir    string
	err    error
	tried  bool
}

func stopKafka() {
	oneKafka.Lock()
	defer oneKafka.Unlock()
	if oneKafka.broker != nil {
		oneKafka.broker.Kill()
	}
	if oneKafka.dir != "" {
		_ = os.RemoveAll(oneKafka.dir)
	}
}

// SharedKafka returns the broker that the tests of a process share; none may kill it.
func SharedKafka(t testing.TB) *Kafka {
	t.Helper()
	if addr := os.Getenv("WALCTL_TEST_KAFKA"); addr != "" {
		return &Kafka{Addr: addr}
	}
	short(t, "Kafka broker")
	oneKafka.Lock()
	defer oneKafka.Unlock()
	if !oneKafka.tried {
		oneKafka.tried = true
		if oneKafka.dir, oneKafka.err = os.MkdirTemp("", "walctl-kafka-"); oneKafka.err == nil {
			oneKafka.broker, oneKafka.err = LaunchKafka(context.Background(), oneKafka.dir)
		}
	}
	if oneKafka.err != nil {
		Missing(t, "Kafka broker", oneKafka.err)
	}
	return oneKafka.broker
}

// PrivateKafka starts a broker for one test, which may kill and restart it.
func PrivateKafka(t testing.TB) *Kafka {
	t.Helper()
	short(t, "Kafka broker")
	k, err := LaunchKafka(t.Context(), t.TempDir())
	if err != nil {
		Missing(t, "Kafka broker", err)
	}
	t.Cleanup(k.Kill)
	return k
}

func (k *Kafka) client() (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(k.Addr), kgo.DisableIdempotentWrite(), kgo.AllowAutoTopicCreation(), kgo.DisableClientMetrics(),
		kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.MaxProduceRequestsInflightPerBroker(1), kgo.MetadataMinAge(100*time.Millisecond))
}

// Publish writes records to a topic's one partition as Milvus's producer does, and makes
// the topic.
func (k *Kafka) Publish(t testing.TB, topic string, records []Record) {
	t.Helper()
	client, err := k.client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	create := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, 1, 1
	create.Topics = append(create.Topics, one)
	resp, err := create.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range resp.Topics {
		if err := kerr.ErrorForCode(made.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Fatal(err)
		}
	}
	var failed error
	var mu sync.Mutex
	for _, r := range records {
		rec := &kgo.Record{Topic: topic, Value: r.Payload}
		for k, v := range r.Props {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		client.Produce(t.Context(), rec, func(_ *kgo.Record, err error) {
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		})
	}
	if err := errors.Join(client.Flush(t.Context()), failed); err != nil {
		t.Fatal(err)
	}
}

// Topics lists the topics there are.
func (k *Kafka) Topics(t testing.TB) (out []string) {
	t.Helper()
	client, err := k.client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		out = append(out, *topic.Topic)
	}
	slices.Sort(out)
	return out
}

// Trim deletes what lies before an offset.
func (k *Kafka) Trim(t testing.TB, topic string, before int64) {
	t.Helper()
	client, err := k.client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	one, part := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	one.Topic, part.Offset = topic, before
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Stop ends the broker as an operator does, and waits until it is gone.
func (k *Kafka) Stop(t testing.TB) {
	t.Helper()
	if err := k.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-k.done
	k.cmd = nil
}
