package cmd

import (
	"sync"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// sum adds up the progress of several logs read at once.
type sum struct {
	mu             sync.Mutex
	show           source.Progress
	records, bytes []int64
}

func newSum(show source.Progress, logs int) *sum {
	return &sum{show: show, records: make([]int64, logs), bytes: make([]int64, logs)}
}

// of returns the progress of one of them.
func (s *sum) of(i int) source.Progress {
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
