package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Progress returns a callback that draws one line on a stderr terminal, and the
// function that takes it away again. Elsewhere both do nothing.
func (f *Factory) Progress(what string) (source.Progress, func()) { return f.progress(what, true) }

// progress is Progress; ends tells whether the sources opened are all that is read, so
// that they know the end.
func (f *Factory) progress(what string, ends bool) (source.Progress, func()) {
	if f.Quiet || f.NoProgress || !f.IO.ErrTTY {
		return func(int64, int64, int64) {}, func() {}
	}
	p := &progress{f: f, what: what, start: f.Now(), ends: ends}
	return p.show, p.done
}

// noteWaitAfter is how long a wait is borne in silence where no line can be drawn.
const noteWaitAfter = 5 * time.Second

// waiting returns what shows that a broker is waited for: a line on a stderr
// terminal, elsewhere one note of a wait that lasts.
func (f *Factory) waiting() func(addr string, waited time.Duration) {
	if f.Quiet {
		return nil
	}
	var mu sync.Mutex
	noted := map[string]bool{}
	return func(addr string, waited time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		draw := f.IO.ErrTTY && !f.NoProgress
		switch {
		case draw && waited < 0:
			fmt.Fprint(f.IO.Cursor, "\r\x1b[K")
		case draw:
			fmt.Fprintf(f.IO.Cursor, "\r\x1b[Kwaiting for %s, %d s", render.Clean(addr), int(waited.Seconds()))
		case waited >= noteWaitAfter && !noted[addr]:
			noted[addr] = true
			f.Notef("waiting for %s", render.Clean(addr))
		}
	}
}

// watch notes a source whose reading the progress line is about.
func (f *Factory) watch(s source.Source) {
	if with, ok := source.As[source.ProgressSource](s); ok {
		f.loading.Lock()
		f.watched = append(f.watched, with)
		f.loading.Unlock()
	}
}

// passed sums up how far the sources watched have been read; of is 0 where the end of
// one is not known.
func (f *Factory) passed() (read, of int64) {
	f.loading.Lock()
	defer f.loading.Unlock()
	for _, s := range f.watched {
		n, total := s.Passed()
		if total <= 0 {
			return 0, 0
		}
		read, of = read+n, of+total
	}
	return read, of
}

type progress struct {
	f     *Factory
	what  string
	start time.Time
	mu    sync.Mutex
	last  time.Time
	drawn bool
	ends  bool
}

// progressEvery keeps the line readable and its cost out of every measurement.
const progressEvery = 200 * time.Millisecond

func (p *progress) show(records, bytes, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.f.Now()
	if now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = now, true
	line := p.what + "  " + render.Plural(int(records), "record")
	if bytes > 0 {
		line += "  " + render.HumanBytes(bytes)
	}
	if d := now.Sub(p.start).Seconds(); d >= 1 {
		line += fmt.Sprintf("  %s/s", render.Thousands(int64(float64(records)/d)))
	}
	read, of := records, total
	if of <= 0 && p.ends {
		read, of = p.f.passed()
	}
	if read > 0 && of >= read {
		line += fmt.Sprintf("  %d %%", read*100/of)
		if d := now.Sub(p.start); d >= time.Second && of > read {
			line += "  about " + render.HumanDuration(time.Duration(float64(d)/float64(read)*float64(of-read))) + " left"
		}
	}
	fmt.Fprintf(p.f.IO.Cursor, "\r\x1b[K%s", render.Clean(line))
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.f.IO.Cursor, "\r\x1b[K")
		p.drawn = false
	}
}
