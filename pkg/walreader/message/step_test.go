package message_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestStepTo(t *testing.T) {
	p := func(a, b int64, batch int32) message.ID {
		return message.ID{Backend: message.BackendPulsar, A: a, B: b, Batch: batch}
	}
	offset := func(a int64) message.ID { return message.ID{Backend: message.BackendKafka, A: a} }
	for _, c := range []struct {
		prev message.ID
		size int32
		id   message.ID
		want message.Step
	}{
		{p(1, 4, 0), 1, p(1, 5, 0), message.StepNext},
		{p(1, 4, -1), 0, p(1, 5, -1), message.StepNext}, // as clients of other languages number what is not batched
		{p(1, 4, 0), 0, p(2, 0, 0), message.StepNext},
		{p(1, 4, 0), 3, p(1, 4, 1), message.StepNext},
		{p(1, 4, 2), 3, p(1, 5, 0), message.StepNext},
		{p(1, 4, 5), 3, p(1, 5, 0), message.StepNext}, // an index past its entry's size ends it all the same
		{offset(7), 0, offset(19), message.StepNext},
		{p(1, 4, 0), 1, p(1, 4, 0), message.StepBack},
		{p(2, 0, 0), 1, p(1, 9, 0), message.StepBack},
		{offset(7), 0, offset(7), message.StepBack},
		{p(1, 4, 0), 3, p(1, 4, 2), message.StepInEntry},
		{p(1, 4, 0), 3, p(1, 5, 0), message.StepEntryEnd},
		{p(1, 4, 0), 3, p(2, 0, 0), message.StepEntryEnd},
		{p(1, 4, 0), 1, p(1, 5, 1), message.StepEntryStart},
		{p(1, 4, 0), 1, p(1, 6, 0), message.StepEntries},
		{p(1, 4, 0), 1, p(2, 1, 0), message.StepLedgerStart},
	} {
		require.Equal(t, c.want, message.StepTo(c.prev, c.size, c.id), "%s (of %d) to %s", c.prev, c.size, c.id)
	}
}
