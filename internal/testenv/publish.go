package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/crypto"
	"github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Record is one message to publish, with the id it had where it comes from.
type Record struct {
	ID      message.ID
	Props   map[string]string
	Payload []byte
	// Spoiled makes an entry of it that no client can decode: it says that it is
	// compressed, and its bytes are not.
	Spoiled bool
}

// Published says where each record of a log went.
type Published struct {
	IDs   []message.ID              // by record
	Raw   []string                  // as Milvus stores them in a checkpoint
	ByOld map[message.ID]message.ID // the old id of each record → its new one
}

// Props are a record's properties as they were written, `_lc` moved.
func (p Published) Props(r Record) map[string]string {
	return p.moved(r)
}

// moved copies a record's properties with `_lc` rewritten where its place is known.
func (p Published) moved(r Record) map[string]string {
	props := maps.Clone(r.Props)
	raw, ok := props[message.KeyLastConfirmed]
	if !ok {
		return props
	}
	if old, _, err := message.ParseRaw(r.ID.Backend, raw); err == nil {
		if id, known := p.ByOld[old]; known {
			props[message.KeyLastConfirmed] = id.Raw(message.Form{Partition: 0, BatchSize: 1})
		}
	}
	return props
}

// NewID is the place an old id went to.
func (p Published) NewID(old message.ID) (message.ID, bool) {
	id, ok := p.ByOld[old]
	return id, ok
}

// Publish writes a log to a topic as Milvus does: properties beside the payload,
// one message an entry. Each `_lc` that names a record written before is
// rewritten to that record's new id, as the id it points at has moved; ids in
// message bodies stay. rollEvery > 0 closes the ledger after so many records.
func (b *Broker) Publish(t testing.TB, topic string, records []Record, rollEvery int) Published {
	t.Helper()
	out := Published{IDs: make([]message.ID, len(records)), Raw: make([]string, len(records)),
		ByOld: make(map[message.ID]message.ID, len(records))}
	chunk := len(records)
	if rollEvery > 0 {
		chunk = rollEvery
	}
	for from := 0; from < len(records); from += chunk {
		if from > 0 {
			b.RollLedger(t, topic)
		}
		if err := b.publish(topic, records, from, min(from+chunk, len(records)), &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// publish sends records[from:to] through one producer. A record whose `_lc`
// names one that is still in flight waits for it.
func (b *Broker) publish(topic string, records []Record, from, to int, out *Published) error {
	client, err := b.client()
	if err != nil {
		return err
	}
	defer client.Close()
	producer, err := client.CreateProducer(pulsar.ProducerOptions{Topic: topic, BatchingMaxMessages: 1, MaxPendingMessages: 2000})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	defer producer.Close()
	spoiler, err := client.CreateProducer(spoilt(topic))
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	defer spoiler.Close()

	type ack struct {
		i   int
		id  pulsar.MessageID
		err error
	}
	acks := make(chan ack, to-from)
	index := make(map[message.ID]int, to-from)
	pending := 0
	take := func() error {
		a := <-acks
		pending--
		if a.err != nil {
			return fmt.Errorf("publish record %d to %s: %w", a.i, topic, a.err)
		}
		id := message.ID{Backend: message.BackendPulsar, A: a.id.LedgerID(), B: a.id.EntryID(), Batch: max(a.id.BatchIdx(), 0)}
		out.IDs[a.i], out.Raw[a.i] = id, id.Raw(message.Form{Partition: 0, BatchSize: 1})
		out.ByOld[records[a.i].ID] = id
		return nil
	}
	for i := from; i < to; i++ {
		r, by := records[i], producer
		if r.Spoiled {
			by = spoiler
		}
		for pending > 0 && (r.Spoiled || i > from && records[i-1].Spoiled) { // the one producer after the other
			if err := take(); err != nil {
				return err
			}
		}
		if raw, ok := r.Props[message.KeyLastConfirmed]; ok {
			old, _, _ := message.ParseRaw(r.ID.Backend, raw)
			for j, inFlight := index[old]; inFlight && out.IDs[j].IsZero(); {
				if err := take(); err != nil {
					return err
				}
			}
		}
		props := out.moved(r)
		index[r.ID] = i
		pending++
		by.SendAsync(context.Background(), &pulsar.ProducerMessage{Payload: r.Payload, Properties: props},
			func(id pulsar.MessageID, _ *pulsar.ProducerMessage, err error) { acks <- ack{i, id, err} })
	}
	for pending > 0 {
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

// spoilt are the options of a producer of entries that no client can decode.
func spoilt(topic string) pulsar.ProducerOptions {
	return pulsar.ProducerOptions{Topic: topic, DisableBatching: true, CompressionType: pulsar.ZSTD,
		Encryption: &pulsar.ProducerEncryptionInfo{MessageCrypto: spoiling{}, KeyReader: crypto.NewFileKeyReader("", ""), Keys: []string{"none"}}}
}

// spoiling writes other bytes in place of a payload, and says of no key.
type spoiling struct{}

func (spoiling) AddPublicKeyCipher([]string, crypto.KeyReader) error { return nil }
func (spoiling) RemoveKeyCipher(string) bool                         { return true }
func (spoiling) Encrypt(_ []string, _ crypto.KeyReader, _ crypto.MessageMetadataSupplier, payload []byte) ([]byte, error) {
	return bytes.Repeat([]byte{0xff}, len(payload)+16), nil
}
func (spoiling) Decrypt(crypto.MessageMetadataSupplier, []byte, crypto.KeyReader) ([]byte, error) {
	return nil, errors.New("nothing is decrypted")
}

// client opens a quiet client of the broker, without global metrics.
func (b *Broker) client() (pulsar.Client, error) {
	if b.URL == "" {
		return nil, errors.New("broker has no address")
	}
	opts := pulsar.ClientOptions{URL: b.URL, OperationTimeout: 30 * time.Second,
		Logger: Quiet(), MetricsRegisterer: prometheus.NewRegistry()}
	if b.token != "" {
		opts.Authentication = pulsar.NewAuthenticationToken(b.token)
	}
	return pulsar.NewClient(opts)
}

// Client is for benchmarks that compare with a bare client.
func (b *Broker) Client(t testing.TB) pulsar.Client {
	t.Helper()
	c, err := b.client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Quiet is a client logger that says nothing.
func Quiet() log.Logger { return quiet{} }

type quiet struct{}

func (q quiet) SubLogger(log.Fields) log.Logger         { return q }
func (q quiet) WithFields(log.Fields) log.Entry         { return q }
func (q quiet) WithField(string, interface{}) log.Entry { return q }
func (q quiet) WithError(error) log.Entry               { return q }
func (quiet) Debug(...interface{})                      {}
func (quiet) Info(...interface{})                       {}
func (quiet) Warn(...interface{})                       {}
func (quiet) Error(...interface{})                      {}
func (quiet) Debugf(string, ...interface{})             {}
func (quiet) Infof(string, ...interface{})              {}
func (quiet) Warnf(string, ...interface{})              {}
func (quiet) Errorf(string, ...interface{})             {}
