package cli

import (
	"fmt"
	"sync"
)

// once is what a command remembers of itself: what it could not reach, and what it
// has told, so that a hundred pchannels wait and complain as one does.
type once struct {
	mu    sync.Mutex
	down  map[string]error
	noted map[string]bool
}

func (o *once) failure(what string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down[what]
}

func (o *once) failed(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		o.down = map[string]error{}
	}
	o.down[what] = err
}

// NoteOnce is Notef for what may come up again and again: the same words are told
// once in a command.
func (f *Factory) NoteOnce(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	f.once.mu.Lock()
	told := f.once.noted[text]
	if f.once.noted == nil {
		f.once.noted = map[string]bool{}
	}
	f.once.noted[text] = true
	f.once.mu.Unlock()
	if !told {
		f.Notef("%s", text)
	}
}
