package cli

import (
	"sync"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Sum adds up the progress of several logs read at once.
type Sum struct {
	mu             sync.Mutex
	show           source.Progress
	records, bytes []int64
}

// NewSum sums the progress of so many logs for show.
func NewSum(show source.Progress, logs int) *Sum {
	return &Sum{show: show, records: make([]int64, logs), bytes: make([]int64, logs)}
}

// Of returns the progress of one of them.
func (s *Sum) Of(i int) source.Progress {
	return func(records, bytes, _ int64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.records[i], s.bytes[i] = records, bytes
		records, bytes = 0, 0
		for k := range s.records {
			records, bytes = records+s.records[k], bytes+s.bytes[k]
		}
		s.show(records, bytes, -1)
	}
}
