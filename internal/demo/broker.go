package demo

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// topic is what a broker says of a pchannel's topic, as Pulsar's admin port does:
// who writes, who reads, and where each reader is.
type topic struct {
	messages   int
	bytes      int64
	end        message.ID // the last entry
	publishers []string
	readers    []reader
}

// reader is a reader of the topic: a subscription that is not durable, with its one
// consumer. next is the entry it reads next.
type reader struct {
	subscription, consumer string
	permits, out, backlog  int64
	next                   message.ID
	waits                  bool // it was given everything there is
}

type (
	statsAnswer struct {
		MessagesIn    int                          `json:"msgInCounter"`
		StorageSize   int64                        `json:"storageSize"`
		BacklogSize   int64                        `json:"backlogSize"`
		Publishers    []statsPublisher             `json:"publishers"`
		Subscriptions map[string]statsSubscription `json:"subscriptions"`
	}
	statsPublisher struct {
		Mode string `json:"accessMode"`
		ID   int    `json:"producerId"`
		Name string `json:"producerName"`
	}
	statsSubscription struct {
		Backlog     int64           `json:"msgBacklog"`
		BacklogSize int64           `json:"backlogSize"`
		Type        string          `json:"type"`
		Consumers   []statsConsumer `json:"consumers"`
		Durable     bool            `json:"durable"`
	}
	statsConsumer struct {
		Name    string `json:"consumerName"`
		Permits int64  `json:"availablePermits"`
		Out     int64  `json:"msgOutCounter"`
	}
	internalAnswer struct {
		Entries int                       `json:"numberOfEntries"`
		Size    int64                     `json:"totalSize"`
		Last    string                    `json:"lastConfirmedEntry"`
		State   string                    `json:"state"`
		Cursors map[string]internalCursor `json:"cursors"`
	}
	internalCursor struct {
		Read   string `json:"readPosition"`
		Waits  bool   `json:"waitingReadOp"`
		State  string `json:"state"`
		Active bool   `json:"active"`
	}
)

// position spells an entry as the broker does.
func position(id message.ID) string { return fmt.Sprintf("%d:%d", id.A, id.B) }

// behind is the entry after one.
func behind(id message.ID) message.ID {
	id.B++
	return id
}

// answers are what the broker answers, as a capture keeps it.
func (t *topic) answers(name string, at time.Time) ([]byte, error) {
	end := position(behind(t.end))
	stats := statsAnswer{MessagesIn: t.messages, StorageSize: t.bytes, BacklogSize: t.bytes, Publishers: []statsPublisher{},
		Subscriptions: map[string]statsSubscription{"backlog-clear": {Type: "Shared", Consumers: []statsConsumer{{Name: "wxyza", Permits: 1}}, Durable: true}}}
	internal := internalAnswer{Entries: t.messages, Size: t.bytes, Last: position(t.end), State: "LedgerOpened",
		Cursors: map[string]internalCursor{"backlog-clear": {Read: end, Waits: true, State: "Open", Active: true}}}
	for i, p := range t.publishers {
		stats.Publishers = append(stats.Publishers, statsPublisher{Mode: "Shared", ID: i + 1, Name: p})
	}
	for _, r := range t.readers {
		stats.Subscriptions[r.subscription] = statsSubscription{Backlog: r.backlog, Type: "Exclusive",
			Consumers: []statsConsumer{{Name: r.consumer, Permits: r.permits, Out: r.out}}}
		internal.Cursors[r.subscription] = internalCursor{Read: position(r.next), Waits: r.waits, State: "Open", Active: r.waits}
	}
	b, err := json.MarshalIndent(map[string]any{
		"schema": "walctl/v1", "topic": "persistent://public/default/" + name, "captured_at": at,
		"answers": map[string]any{diagnose.AnswerStats: stats, diagnose.AnswerInternal: internal},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("spelling %s: %w", source.EvidenceTopicStats, err)
	}
	return append(b, '\n'), nil
}
