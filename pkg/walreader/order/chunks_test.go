package order

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// splitLog makes a log out of words: TimeTick "T@9", a whole insert "i@3", record 1
// of 3 of one with the payload ab "1/3@5:ab". A leading "w " puts it on vchannel w.
func splitLog(t *testing.T, words ...string) []*message.Message {
	t.Helper()
	out := make([]*message.Message, len(words))
	for n, w := range words {
		channel := "v"
		if rest, other := strings.CutPrefix(w, "w "); other {
			w, channel = rest, "w"
		}
		if !strings.Contains(w, "/") {
			out[n] = build(t, w)[0]
			out[n].ID.B, out[n].Ordinal, out[n].VChannel = int64(n), int64(n), channel
			continue
		}
		var index, total string
		var tick uint64
		head, payload, _ := strings.Cut(w, ":")
		place, at, _ := strings.Cut(head, "@")
		index, total, _ = strings.Cut(place, "/")
		_, err := fmt.Sscanf(at, "%d", &tick)
		require.NoError(t, err)
		m := &message.Message{Ordinal: int64(n), ID: message.ID{Backend: message.BackendPulsar, B: int64(n)}, Payload: []byte(payload)}
		m.Props = message.Properties{{Key: "_ci", Value: index}, {Key: "_ct", Value: total}, {Key: "_h", Value: "CAESBAgBEAM="},
			{Key: "_t", Value: "2"}, {Key: "_tt", Value: strconv.FormatUint(tick, 36)}, {Key: "_v", Value: "1"}, {Key: "_vc", Value: channel}}
		var d message.Decoder
		d.Decode(m)
		require.Equal(t, tick, m.TimeTick)
		out[n] = m
	}
	return out
}

// A message in several records is delivered once, whole, in the order of its
// TimeTick; one that is not whole is told of, once.
func TestChunks(t *testing.T) {
	for name, c := range map[string]struct {
		log       []string
		delivered string
		dropped   string
		flush     bool
	}{
		"in order":                      {log: []string{"0/3@5:ab", "1/3@5:cd", "2/3@5:e", "T@9"}, delivered: "0=abcde"},
		"any order":                     {log: []string{"2/3@5:e", "0/3@5:ab", "1/3@5:cd", "T@9"}, delivered: "1=abcde"},
		"two at a time, two vchannels":  {log: []string{"0/2@5:ab", "w 0/2@4:cd", "w i@3", "1/2@5:e", "w 1/2@4:f", "T@9"}, delivered: "2= 1=cdf 0=abe"},
		"one TimeTick, two vchannels":   {log: []string{"0/2@5:ab", "w 0/2@5:cd", "w 1/2@5:f", "1/2@5:e", "T@9"}, delivered: "1=cdf 0=abe"},
		"over a TimeTick below":         {log: []string{"0/2@5:ab", "T@4", "1/2@5:e", "T@9"}, delivered: "0=abe"},
		"a middle one missing":          {log: []string{"0/3@5:ab", "2/3@5:e", "T@9"}, dropped: "0 chunks missing"},
		"the first one missing":         {log: []string{"1/2@5:e", "T@9"}, dropped: "0 chunks missing"},
		"never finished":                {log: []string{"0/3@5:ab", "1/3@5:cd", "T@5", "i@6", "T@9"}, delivered: "3=", dropped: "0 chunks never finished"},
		"finished too late":             {log: []string{"0/2@5:ab", "T@9", "1/2@5:e", "T@10"}, dropped: "0 chunks never finished, 2 chunks missing"},
		"unfinished at the end":         {log: []string{"T@4", "0/3@5:ab"}},
		"unfinished at the end, opened": {log: []string{"T@4", "0/3@5:ab"}, flush: true, dropped: "1 chunks never finished"},
		"a record again":                {log: []string{"0/2@5:ab", "0/2@5:ab", "1/2@5:e", "1/2@5:e", "T@9"}, delivered: "1=abe", dropped: "0 chunk written again, 3 chunk written again"},
		"a record again, much later":    {log: []string{"0/2@5:ab", "1/2@5:e", "T@9", "1/2@5:e", "T@10"}, delivered: "0=abe", dropped: "3 chunk written again"},
		"another record in its place":   {log: []string{"0/3@5:ab", "1/3@5:cd", "1/3@5:xx", "2/3@5:e", "T@9"}, dropped: "0 chunks contradictory"},
		"another total":                 {log: []string{"0/2@5:ab", "1/3@5:cd", "2/3@5:e", "T@9"}, dropped: "0 chunks contradictory"},
		"a total nothing could hold":    {log: []string{"0/2000000000@5:ab", "T@9"}, dropped: "0 chunks never finished"},
		"all of it too late":            {log: []string{"T@9", "0/2@5:ab", "1/2@5:e", "T@10"}, dropped: "1 stale"},
	} {
		t.Run(name, func(t *testing.T) {
			var drops dropLog
			var held int64
			s := NewScanner(&listReader{list: splitLog(t, c.log...)}, Options{Observer: &drops, Account: func(d int64) error { held += d; return nil }})
			delivered := payloads(t, s)
			if c.flush {
				s.Flush()
				delivered = append(delivered, payloads(t, s)...)
			}
			require.Equal(t, c.delivered, strings.Join(delivered, " "))
			require.Equal(t, c.dropped, strings.Join(drops, ", "))
			waits := len(s.Waiting())
			require.Equal(t, waits > 0, s.Bytes() > 0, "%d bytes for %d that wait", s.Bytes(), waits)
			if waits == 0 {
				require.Zero(t, s.Bytes())
			}
		})
	}
}

func payloads(t *testing.T, s *Scanner) (out []string) {
	t.Helper()
	for {
		d, err := s.Next(t.Context())
		if err != nil {
			return out
		}
		if m := d.Message; m.Type != message.TypeTimeTick {
			_, _, part := m.Chunk()
			require.False(t, part, "a record of a message")
			if len(m.Payload) > 0 {
				require.Equal(t, uint64(3), m.Rows, "counted once")
				require.Equal(t, int64(len(m.Payload)), m.PayloadSize)
			}
			out = append(out, fmt.Sprintf("%d=%s", m.ID.B, m.Payload))
		}
	}
}

// Where payloads are not read a message is put together all the same, with the size
// of all its records.
func TestChunksWithoutPayload(t *testing.T) {
	list := splitLog(t, "0/2@5:ab", "1/2@5:e", "T@9")
	for _, m := range list {
		m.PayloadSize, m.Payload = int64(len(m.Payload)), nil
	}
	s := NewScanner(&listReader{list: list}, Options{})
	d, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Nil(t, d.Message.Payload)
	require.Equal(t, int64(3), d.Message.PayloadSize)
}

// What is given up costs what it is, not what else waits.
func TestChunksFarAhead(t *testing.T) {
	var c Chunks
	dropped := 0
	c.Drop = func(*message.Message, Reason, uint64) { dropped++ }
	list := splitLog(t, "0/2@5:ab", "0/2@6:ab", "0/2@7000000000000000000:ab")
	for _, m := range list {
		c.Take(m)
	}
	c.Expire(6)
	require.Equal(t, 2, dropped)
	c.Expire(math.MaxUint64)
	require.Equal(t, 3, dropped)
	require.Zero(t, c.Bytes())
}
