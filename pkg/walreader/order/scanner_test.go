package order

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type listReader struct {
	list []*message.Message
	errs map[int]error
	i    int
}

func (r *listReader) Next(context.Context) (*message.Message, error) {
	if err := r.errs[r.i]; err != nil {
		delete(r.errs, r.i)
		return nil, err
	}
	if r.i == len(r.list) {
		return nil, io.EOF
	}
	r.i++
	return r.list[r.i-1], nil
}

func (r *listReader) Close() error { return nil }

type dropLog []string

func (d *dropLog) Dropped(m *message.Message, why Reason, _ uint64) {
	*d = append(*d, fmt.Sprintf("%d %s", m.ID.B, why))
}

// build makes a log out of short words: TimeTick "T@9", plain "i@3", parts of
// transaction 7 "begin7@1" "body7@2" "commit7@3" "rollback7@3", "promote@5".
func build(t *testing.T, words ...string) []*message.Message {
	t.Helper()
	types := map[string]message.Type{"T": message.TypeTimeTick, "i": message.TypeInsert, "begin": message.TypeBeginTxn,
		"body": message.TypeInsert, "commit": message.TypeCommitTxn, "rollback": message.TypeRollbackTxn, "promote": message.TypeAlterReplicateConfig}
	out := make([]*message.Message, len(words))
	for i, w := range words {
		var name string
		var txn int64
		var tick uint64
		for j, c := range w {
			if c >= '0' && c <= '9' || c == '@' {
				name = w[:j]
				if c != '@' {
					_, err := fmt.Sscanf(w[j:], "%d@%d", &txn, &tick)
					require.NoError(t, err)
				} else {
					_, err := fmt.Sscanf(w[j:], "@%d", &tick)
					require.NoError(t, err)
				}
				break
			}
		}
		m := at(int64(i), tick)
		m.Type = types[name]
		require.NotZero(t, m.Type, w)
		if txn != 0 {
			m.TxnID, m.Keepalive, m.Flags = txn, infiniteKeepalive, m.Flags|message.HasTxn
		}
		if name == "promote" {
			b, err := proto.Marshal(&messagespb.AlterReplicateConfigMessageHeader{ForcePromote: true})
			require.NoError(t, err)
			m.Props = message.Properties{{Key: "_h", Value: base64.StdEncoding.EncodeToString(b)}}
		}
		out[i] = m
	}
	return out
}

func run(t *testing.T, s *Scanner) (out []string) {
	t.Helper()
	for {
		d, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		text := fmt.Sprintf("%d@%d", d.Message.ID.B, d.TimeTick)
		if d.Begin != nil {
			text += fmt.Sprintf("(%d", d.Begin.ID.B)
			for _, m := range d.Body {
				text += fmt.Sprintf(" %d", m.ID.B)
			}
			text += ")"
		}
		out = append(out, text)
	}
}

func TestScanner(t *testing.T) {
	for _, c := range []struct {
		name        string
		log         []string
		out, drops  []string
		uncommitted []int64
		waiting     int
	}{
		{name: "reorder by TimeTick", log: []string{"i@3", "i@2", "T@3", "i@4"}, out: []string{"1@2", "0@3", "2@3"}, waiting: 1},
		{name: "stale behind a TimeTick, equal is not", log: []string{"T@5", "i@4", "i@5", "T@6"},
			out: []string{"0@5", "2@5", "3@6"}, drops: []string{"1 stale"}},
		{name: "a later TimeTick behind the former moves the line back", log: []string{"T@5", "T@3", "i@4", "T@6"},
			out: []string{"0@5", "1@3", "2@4", "3@6"}},
		{name: "committed", log: []string{"begin7@1", "i@3", "body7@2", "commit7@4", "T@9"},
			out: []string{"1@3", "3@4(0 2)", "4@9"}},
		{name: "rolled back", log: []string{"begin7@1", "body7@2", "rollback7@4", "T@9"},
			out: []string{"3@9"}, drops: []string{"0 rolled back", "1 rolled back", "2 rolled back"}},
		{name: "parts without begin", log: []string{"body7@2", "commit7@4", "rollback8@5", "T@9"},
			out: []string{"3@9"}, drops: []string{"0 body without begin", "1 end without begin", "2 end without begin"}},
		{name: "begin again", log: []string{"begin7@1", "body7@2", "begin7@3", "commit7@4", "T@9"},
			out: []string{"3@4(2)", "4@9"}, drops: []string{"0 superseded", "1 superseded"}},
		{name: "force promote", log: []string{"begin7@1", "body7@2", "promote@3", "commit7@4", "T@9"},
			out: []string{"2@3", "4@9"}, drops: []string{"0 force promoted", "1 force promoted", "3 end without begin"}},
		{name: "open", log: []string{"begin7@1", "body7@2", "begin5@3", "T@9"}, out: []string{"3@9"}, uncommitted: []int64{5, 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var drops dropLog
			s := NewScanner(&listReader{list: build(t, c.log...)}, Options{Observer: &drops, Account: func(int64) error { return nil }})
			require.Equal(t, c.out, run(t, s))
			require.Equal(t, c.drops, []string(drops))
			var open []int64
			for _, x := range s.Uncommitted() {
				open = append(open, x.ID)
			}
			require.Equal(t, c.uncommitted, open)
			require.Len(t, s.Waiting(), c.waiting)
			if len(open) == 0 && c.waiting == 0 {
				require.Zero(t, s.Bytes(), "nothing is held")
			}
			s.Flush()
			run(t, s)
			require.Empty(t, s.Waiting())
		})
	}
}

func TestScannerDropsAnIDOnlyWhileItIsBuffered(t *testing.T) {
	log := build(t, "i@3", "i@4", "T@9", "i@10", "T@11")
	log[1].ID, log[3].ID = log[0].ID, log[0].ID
	var drops dropLog
	require.Equal(t, []string{"0@3", "2@9", "0@10", "4@11"}, run(t, NewScanner(&listReader{list: log}, Options{Observer: &drops})))
	require.Equal(t, dropLog{"0 duplicate id"}, drops)
}

func TestScannerExpiry(t *testing.T) {
	log := build(t, "begin7@1", "body7@5", "T@9", "T@10", "commit7@11", "T@12")
	log[0].Keepalive, log[1].Keepalive = 1, 9 // the Begin's counts
	end := uint64(5 + 1<<18)
	var drops dropLog
	log[2].TimeTick, log[3].TimeTick, log[4].TimeTick, log[5].TimeTick = end-1, end, end+1, end+2
	s := NewScanner(&listReader{list: log[:3]}, Options{})
	run(t, s)
	require.Equal(t, end, s.Uncommitted()[0].ExpiredTimeTick())
	s = NewScanner(&listReader{list: log}, Options{Observer: &drops})
	run(t, s)
	require.Equal(t, dropLog{"0 expired", "1 expired", "4 end without begin"}, drops)
}

func TestScannerCommitBehindExpiryInOneBatchWins(t *testing.T) {
	log := build(t, "begin7@1", "commit7@2", "T@3")
	log[0].Keepalive = 1
	log[1].TimeTick, log[2].TimeTick = 1<<40, 1<<41
	require.Equal(t, []string{fmt.Sprintf("1@%d(0)", 1<<40), fmt.Sprintf("2@%d", 1<<41)}, run(t, NewScanner(&listReader{list: log}, Options{})))
}

func TestScannerGoesOnBehindCorruption(t *testing.T) {
	log := build(t, "i@3", "i@4", "T@9")
	s := NewScanner(&listReader{list: log, errs: map[int]error{1: &source.CorruptError{Place: "1"}}}, Options{})
	_, err := s.Next(context.Background())
	var corrupt *source.CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, []string{"0@3", "1@4", "2@9"}, run(t, s))
}

func TestScannerUnorderable(t *testing.T) {
	log := build(t, "i@3", "T@9")
	log[0].Flags = 0
	var drops dropLog
	require.Equal(t, []string{"1@9"}, run(t, NewScanner(&listReader{list: log}, Options{Observer: &drops})))
	require.Equal(t, dropLog{"0 undecodable"}, drops)
}

func TestScannerAccounts(t *testing.T) {
	log := build(t, "i@3", "i@4", "T@9", "i@10")
	log[0].Payload, log[1].Payload = make([]byte, 2<<20), make([]byte, 10)
	var total, most int64
	count := func(d int64) error { total += d; most = max(most, total); return nil }
	run(t, NewScanner(&listReader{list: log}, Options{Account: count}))
	require.Greater(t, most, int64(2<<20))
	require.Less(t, total, int64(accountStep))
	full := errors.New("full")
	_, err := NewScanner(&listReader{list: log}, Options{Account: func(int64) error { return full }}).Next(context.Background())
	require.ErrorIs(t, err, full)
}

func TestInfiniteKeepaliveNeverExpires(t *testing.T) {
	s := NewScanner(&listReader{list: build(t, "begin7@1", fmt.Sprintf("T@%d", uint64(math.MaxUint64-1)))}, Options{})
	run(t, s)
	require.Len(t, s.Uncommitted(), 1)
}
