package source

import "sync/atomic"

// ProgressSource is a source that can tell how far the reader opened last has come.
type ProgressSource interface {
	Source
	// Passed returns how much of total was read, in a unit of the source's own; total
	// is 0 where the end is not known. It may be called from any goroutine.
	Passed() (read, total int64)
}

// Passage is what a source keeps for Passed. Its zero value tells nothing.
type Passage struct{ read, total atomic.Int64 }

// Begin notes that a reader of so much begins.
func (p *Passage) Begin(total int64) {
	p.read.Store(0)
	p.total.Store(total)
}

// Reach notes that the reader has come so far.
func (p *Passage) Reach(read int64) { p.read.Store(read) }

// Add notes that it has come so much further.
func (p *Passage) Add(n int64) { p.read.Add(n) }

// Passed is ProgressSource's.
func (p *Passage) Passed() (read, total int64) { return p.read.Load(), p.total.Load() }
