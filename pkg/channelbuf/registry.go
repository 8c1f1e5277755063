package channelbuf

import (
	"cmp"
	"slices"
	"sync"
)

// Registry is the set of live buffers, at most one for a vchannel. It is safe
// for concurrent use; a Buffer handed out twice is shared.
type Registry struct {
	budget *Budget
	dir    string

	mu      sync.Mutex
	buffers map[string]*Buffer
}

// NewRegistry returns an empty registry. Spilled chunks go to temporary files
// in dir ("" = the system's); they are gone when their buffer is released.
func NewRegistry(budget *Budget, dir string) *Registry {
	return &Registry{budget: budget, dir: dir, buffers: make(map[string]*Buffer)}
}

// Register returns the one live buffer of a vchannel. Registering the same
// incarnation again returns the buffer that exists; a newer one supersedes the
// old buffer, whose memory is released before Register returns; an older one is
// refused by a *StaleError. No other error exists. docs/rules.md#buffers
func (r *Registry) Register(vchannel string, inc Incarnation) (*Buffer, Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	outcome := Created
	if old := r.buffers[vchannel]; old != nil {
		switch c := inc.Compare(old.inc); {
		case c == 0:
			return old, Existing, nil
		case c < 0:
			return nil, 0, &StaleError{VChannel: vchannel, Have: old.inc, Got: inc}
		}
		old.close()
		outcome = Superseded
	}
	b := newBuffer(vchannel, inc, r.budget, r.dir)
	r.buffers[vchannel] = b
	return b, outcome, nil
}

// Release drops the buffer of exactly this incarnation, and reports whether
// there was one. Releasing again, or an incarnation that was superseded,
// changes nothing.
func (r *Registry) Release(vchannel string, inc Incarnation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buffers[vchannel]
	if b == nil || b.inc != inc {
		return false
	}
	delete(r.buffers, vchannel)
	b.close()
	return true
}

// Get returns a vchannel's live buffer, or nil.
func (r *Registry) Get(vchannel string) *Buffer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buffers[vchannel]
}

// Buffers lists the live buffers by vchannel.
func (r *Registry) Buffers() []*Buffer {
	r.mu.Lock()
	out := make([]*Buffer, 0, len(r.buffers))
	for _, b := range r.buffers {
		out = append(out, b)
	}
	r.mu.Unlock()
	slices.SortFunc(out, func(a, b *Buffer) int { return cmp.Compare(a.vchannel, b.vchannel) })
	return out
}

// Close releases every buffer. The registry is then empty and usable.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for v, b := range r.buffers {
		b.close()
		delete(r.buffers, v)
	}
}
