package scanner_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/pkg/scanner"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// list is a log in memory.
type list struct {
	records []*message.Message
	next    int
}

func (l *list) Next(context.Context) (*message.Message, error) {
	if l.next == len(l.records) {
		return nil, io.EOF
	}
	l.next++
	return l.records[l.next-1], nil
}

func (l *list) Close() error { return nil }

// scannerFile is one file of testdata/golden/scanners: what Milvus's own buffer and
// scanner did.
type scannerFile struct {
	Log     string
	Records int64
	Batches []struct {
		I               int64
		Bytes, Messages int64
	}
	Cases []struct {
		Policy             scanner.Policy
		Capacity           int64
		KeepaliveMS        int64 `json:"keepalive_ms"`
		Outcome            string
		IdleMS             int64 `json:"idle_ms"`
		Start              string
		Trimmed            bool   `json:"log_trimmed_behind_last_time_tick"`
		AtI                int64  `json:"at_i"`
		AtIDs              string `json:"at_ids"`
		AtTimeTick         uint64 `json:"at_time_tick"`
		VirtualMSAfterOpen int64  `json:"virtual_ms_after_open"`
		Forced             string `json:"forced_time_tick"`
		Tries              []struct{ Result string }
		BufferAtOpen       struct {
			Entries  int
			Bytes    int64
			Earliest uint64 `json:"earliest_time_tick"`
			Last     uint64 `json:"last_persisted_time_tick"`
			Latest   uint64 `json:"latest_time_tick"`
		} `json:"buffer_at_open"`

		StopsAfter  string `json:"consumer_stops_after_ids"`
		GoesOnAt    int64  `json:"consumer_goes_on_when_log_holds_i"`
		SlowIdleMS  int64  `json:"idle_ms_before_it_goes_on"`
		SlowTrimmed bool   `json:"log_trimmed_before_it_goes_on"`
		Switches    []struct {
			Mode     string
			LastIDs  string `json:"last_consumed_ids"`
			LastTick uint64 `json:"last_consumed_time_tick"`
		} `json:"mode_switches"`
	}
}

func scannerFiles(t *testing.T, pattern string) map[string]scannerFile {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(golden.Dir(), "scanners", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	out := map[string]scannerFile{}
	for _, p := range paths {
		f, err := os.Open(p)
		require.NoError(t, err)
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		var s scannerFile
		require.NoError(t, json.NewDecoder(z).Decode(&s))
		require.NoError(t, f.Close())
		out[filepath.Base(p)] = s
	}
	return out
}

// records reads a golden log as far as the simulation did.
func records(t *testing.T, name string, n int64) []*message.Message {
	t.Helper()
	name = strings.TrimSuffix(name, ".jsonl")
	path := filepath.Join(golden.Dir(), "scanners", name+".wal.jsonl.gz")
	if _, err := os.Stat(path); err != nil {
		path = golden.File(t, name, "wal.jsonl.zst")
	}
	s, err := walreader.Open(t.Context(), "jsonl:"+path, walreader.Options{})
	require.NoError(t, err)
	defer s.Close()
	r, err := s.Open(t.Context(), source.Range{Props: true, Limit: n})
	require.NoError(t, err)
	defer r.Close()
	var out []*message.Message
	for {
		m, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		out = append(out, m)
	}
	require.Len(t, out, int(n))
	return out
}

// Every case that Milvus's own buffer and scanner were run through ends as it did there.
func TestSimulationAgreesWithMilvus(t *testing.T) {
	for name, f := range scannerFiles(t, "sim-*.json.gz") {
		t.Run(name, func(t *testing.T) {
			log := records(t, f.Log, f.Records)
			for _, c := range f.Cases {
				start, err := scanner.ParseStart(c.Start)
				require.NoError(t, err)
				r, err := scanner.Simulate(t.Context(), &list{records: log}, scanner.Options{
					Policy: c.Policy, Start: start, Capacity: c.Capacity, Keepalive: millis(c.KeepaliveMS), Idle: millis(c.IdleMS), Trimmed: c.Trimmed, ResumeAt: -1,
				})
				require.NoError(t, err)
				at := fmt.Sprintf("%s %s capacity %d keepalive %d idle %d trimmed %v", c.Policy, c.Start, c.Capacity, c.KeepaliveMS, c.IdleMS, c.Trimmed)
				require.Equal(t, c.Outcome, r.Outcome.String(), at)
				require.Equal(t, c.AtI, r.AtI, at)
				require.Equal(t, c.AtIDs, r.AtIDs, at)
				require.Equal(t, c.AtTimeTick, r.AtTimeTick, at)
				require.Equal(t, c.Forced != "" && c.AtIDs == c.Forced, r.Forced, at)
				b := c.BufferAtOpen
				require.Equal(t, scanner.Held{Entries: b.Entries, Bytes: b.Bytes, Oldest: b.Earliest, Last: b.Last, Newest: b.Latest}, r.Buffer, at)
				if n := len(c.Tries); n > 0 && c.VirtualMSAfterOpen < 200 {
					require.Equal(t, c.Tries[n-1].Result, map[scanner.Answer]string{scanner.Snapshot: "snapshot", scanner.AtEnd: "at-end", scanner.Wait: "at-end"}[r.Answer], at)
					require.Equal(t, c.VirtualMSAfterOpen, r.VirtualMS, at)
				}
			}
		})
	}
}

// A slow consumer's scanner changes its mode where Milvus's own did, and ends as it did.
func TestSlowConsumersAgreeWithMilvus(t *testing.T) {
	for name, f := range scannerFiles(t, "slow-*.json.gz") {
		t.Run(name, func(t *testing.T) {
			log := records(t, f.Log, f.Records)
			for _, c := range f.Cases {
				r, err := scanner.Simulate(t.Context(), &list{records: log}, scanner.Options{
					Policy: c.Policy, Capacity: c.Capacity, Keepalive: millis(c.KeepaliveMS), Idle: millis(c.SlowIdleMS), Trimmed: c.SlowTrimmed,
					PauseAfter: c.StopsAfter, ResumeAt: c.GoesOnAt,
				})
				require.NoError(t, err)
				at := fmt.Sprintf("%s capacity %d keepalive %d stops after %s idle %d trimmed %v", c.Policy, c.Capacity, c.KeepaliveMS, c.StopsAfter, c.SlowIdleMS, c.SlowTrimmed)
				want := map[string]string{"ends tailing": "meets", "hangs in catchup": "hangs"}[c.Outcome]
				require.Equal(t, want, r.Outcome.String(), at)
				require.Equal(t, "catchup", c.Switches[0].Mode, at)
				require.Len(t, r.Switch, len(c.Switches)-1, at)
				for i, w := range c.Switches[1:] {
					require.Equal(t, w.Mode, r.Switch[i].Mode.String(), at)
					require.Equal(t, w.LastIDs, r.Switch[i].Place.IDs, at)
					require.Equal(t, w.LastTick, r.Switch[i].Place.TimeTick, at)
				}
				if last := c.Switches[len(c.Switches)-1]; want == "meets" {
					require.Equal(t, last.LastIDs, r.AtIDs, at)
				} else {
					require.EqualValues(t, -1, r.AtI, at)
				}
			}
		})
	}
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
