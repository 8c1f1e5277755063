package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
)

// hole is a place in the order of writing where records are missing: between two
// sequence numbers of the log files.
type hole struct {
	file     *file  // the one it stands in, or whose beginning it stands before
	from, to int64  // bytes of file; equal where no byte of it is bad
	first    uint64 // the missing sequence numbers; 0 = not known
	lost     int64  // how many; −1 = not known
	cause    error
	prev     map[string]int64 // of each topic the last id before it
	next     map[string]int64 // of each topic the first id after it
	behind   int64            // messages read after it
}

// logScan reads the log files in turn, in the order of writing.
type logScan struct {
	s       *snapshot
	seq     uint64 // the one expected next; 0 = not known
	last    map[string]int64
	filled  map[string]int // how many holes know a topic's next id
	bad     *rocksdb.Damage
	badFile *file
	loose   bool // the log file before this one does not end whole
	started bool // a record of this file was read
}

// Where a log ends in the middle of a record, its owner may be writing it.
const (
	tornLooks = 3
	tornWait  = 30 * time.Millisecond
)

// file reads one log file.
func (l *logScan) file(ctx context.Context, f *file) error {
	l.started = false
	r := rocksdb.NewLogReader(f.name, f.number, f.in, f.size, 0)
	for n, waits := 0, 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		rec, off, err := r.Next()
		var d *rocksdb.Damage
		switch {
		case err == nil:
			if err := l.record(f, rec, off); err != nil {
				l.damaged(f, &rocksdb.Damage{File: f.name, From: off, To: off + int64(len(rec)), Cause: err})
			}
		case errors.As(err, &d):
			l.damaged(f, d)
		case errors.Is(err, io.EOF):
			l.leave(f, false)
			return nil
		case !errors.Is(err, rocksdb.ErrTorn):
			return fmt.Errorf("read %s: %w", f.name, err)
		case !l.newest(f):
			l.leave(f, true)
			return nil
		default:
			grown, err := grows(ctx, f)
			if err != nil {
				return err
			}
			if waits++; grown && waits < tornLooks {
				r = rocksdb.NewLogReader(f.name, f.number, f.in, f.size, r.Cut())
				continue
			}
			if f.size = r.Cut(); !grown { // nobody writes it any more
				l.s.torn = f
			}
			l.leave(f, false)
			return nil
		}
	}
}

// newest reports whether no log file is behind this one.
func (l *logScan) newest(f *file) bool {
	for _, o := range l.s.files {
		if o.log && o.number > f.number {
			return false
		}
	}
	return true
}

// grows waits a moment for a file to grow that may be in the middle of it.
func grows(ctx context.Context, f *file) (bool, error) {
	if !f.fresh {
		return false, nil
	}
	t := time.NewTimer(tornWait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	st, err := f.in.Stat()
	if err != nil || st.Size() <= f.size {
		return false, err
	}
	f.size = st.Size()
	return true, nil
}

// finish sums up what stands after each hole.
func (l *logScan) finish() {
	for i := len(l.s.holes) - 2; i >= 0; i-- {
		l.s.holes[i].behind += l.s.holes[i+1].behind
	}
}

// damaged notes bytes that cannot be read, until the next record tells how many
// sequence numbers they took.
func (l *logScan) damaged(f *file, d *rocksdb.Damage) {
	if l.bad == nil {
		l.bad, l.badFile = d, f
	} else if l.badFile == f {
		l.bad.To = d.To
	}
}

// obsolete reports whether all of a log stands in tables.
func (l *logScan) obsolete(f *file) bool {
	return l.s.trusted() && f.number < l.s.manifest.LogNumber
}

// leave is called at a file's end.
func (l *logScan) leave(f *file, torn bool) {
	l.loose = torn || l.bad != nil
	switch {
	case l.obsolete(f):
		l.seq, l.bad, l.loose = 0, nil, false
	case l.bad != nil && l.newest(f):
		l.hole(hole{file: l.badFile, from: l.bad.From, to: l.bad.To, lost: -1, cause: l.bad.Cause})
		l.bad = nil
	}
}

// record takes one batch.
func (l *logScan) record(f *file, rec []byte, off int64) error {
	b, err := rocksdb.ParseBatch(rec)
	if err != nil {
		return err
	}
	l.follow(f, b.Seq, off)
	l.started = true
	l.seq = b.Seq + uint64(b.Count)
	n, err := b.Each(func(e rocksdb.Entry) {
		switch e.Kind {
		case rocksdb.KindRangeDelete:
			l.s.deletions = append(l.s.deletions, rocksdb.Entry{Seq: e.Seq, Kind: e.Kind, Key: append([]byte(nil), e.Key...), Value: append([]byte(nil), e.Value...)})
		default:
			name, id, ok := splitKey(e.Key)
			if !ok {
				l.s.other(e.Key)
				return
			}
			l.message(f, name, id, off)
		}
	})
	if err != nil {
		l.seq = b.Seq + uint64(n) // the next record tells how many are missing
	}
	return err
}

// follow holds a batch's sequence number against the one expected. Between two
// files a hole counts only where the first does not end whole, or where both are
// needed: RocksDB deletes a log once its rows are in tables.
func (l *logScan) follow(f *file, seq uint64, off int64) {
	bad := l.bad
	l.bad = nil
	if l.obsolete(f) {
		return
	}
	h := hole{file: f, from: off, to: off, first: l.seq, lost: int64(seq - l.seq), cause: errors.New("sequence numbers that nothing on the disk has")}
	if bad != nil {
		h.file, h.from, h.to, h.cause = l.badFile, bad.From, bad.To, bad.Cause
	}
	switch {
	case l.seq == 0 && bad == nil:
	case l.seq == 0:
		h.first, h.lost = l.flushed()+1, int64(seq-l.flushed()-1)
		if h.first == 1 || h.lost <= 0 { // not told by the manifest
			h.first, h.lost = 0, -1
		}
		l.hole(h)
	case seq <= l.seq: // nothing is missing, whatever the bytes were
	case l.started || bad != nil || l.loose || l.s.trusted():
		l.hole(h)
	}
}

// flushed is the sequence number that the tables reach to, 0 = not known.
func (l *logScan) flushed() uint64 {
	if !l.s.trusted() {
		return 0
	}
	last := l.s.manifest.LastSeq
	for _, f := range l.s.manifest.Files {
		last = max(last, f.MaxSeq)
	}
	return last
}

func (l *logScan) hole(h hole) {
	h.prev, h.next = maps.Clone(l.last), make(map[string]int64)
	l.s.holes = append(l.s.holes, &h)
}

// message notes where a topic's message stands.
func (l *logScan) message(f *file, name []byte, id, off int64) {
	t := l.s.topic(name)
	for i := l.filled[t.name]; i < len(l.s.holes); i++ {
		l.s.holes[i].next[t.name] = id
	}
	l.filled[t.name] = len(l.s.holes)
	l.last[t.name] = max(l.last[t.name], id)
	var sp *logSpan
	if n := len(t.logs); n > 0 && t.logs[n-1].file == f {
		sp = t.logs[n-1]
	} else {
		sp = &logSpan{file: f, first: id, last: id}
		t.logs = append(t.logs, sp)
	}
	if n := len(l.s.holes); n > 0 {
		l.s.holes[n-1].behind++
	}
	sp.unordered = sp.unordered || id < sp.last
	sp.first, sp.last = min(sp.first, id), max(sp.last, id)
	if n := len(sp.marks); n == 0 || off-sp.marks[n-1].offset >= markEvery {
		sp.marks = append(sp.marks, mark{id, off})
	}
}
