package archive

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

var errClosed = errors.New("the reader is closed")

// slabSize is how many messages are allocated at once: enough to cost little
// each, few enough that one kept message holds little memory.
const slabSize = 256

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, r source.Range) (source.Reader, error) {
	start, end, err := s.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.reader(start, end, r)
}

// reader reads the rows from start on and before end.
func (s *Source) reader(start, end int64, r source.Range) (*reader, error) {
	payload, err := s.kept(r.Payload)
	if err != nil {
		return nil, err
	}
	return &reader{c: s.cursorFrom(start, end, r), b: newBlock(s.m.Backend, newNames()), props: r.Props, payload: payload}, nil
}

// kept is what of the payloads asked for the archive has: none where their files did
// not come along, as in records that were written without. What needs one then finds
// message.ErrNotRead.
func (s *Source) kept(want source.Payload) (source.Payload, error) {
	if want == source.PayloadNone {
		return want, nil
	}
	has, err := s.HasPayload()
	if err != nil || !has {
		return source.PayloadNone, err
	}
	return want, nil
}

// reader builds messages from columns.
type reader struct {
	mu      sync.Mutex
	c       *cursor
	b       *block
	props   bool
	payload source.Payload
	at, end int // rows of the loaded block still to give
	slab    []message.Message
	pay     payloads
	closed  bool
}

// Next implements source.Reader.
func (r *reader) Next(ctx context.Context) (*message.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	for {
		if r.at >= r.end {
			if err := r.load(ctx); err != nil {
				return nil, err
			}
		}
		m, err := r.message()
		if m != nil || err != nil {
			return m, err
		}
	}
}

func (r *reader) load(ctx context.Context) error {
	p, err := r.c.next(ctx)
	if err != nil {
		return err
	}
	err = r.b.load(p, message.AllColumns)
	if err == nil {
		err = r.b.loadForms()
	}
	if err == nil && (r.props || r.anyFull(p)) {
		err = r.b.loadTexts()
	}
	if err != nil {
		return r.c.fault(p, err)
	}
	r.at, r.end = p.lo, p.hi
	r.pay.enter(r.c, p)
	return nil
}

func (r *reader) anyFull(p part) bool {
	for i := p.lo; i < p.hi; i++ {
		if r.b.needsFull(i) {
			return true
		}
	}
	return false
}

// message builds the next row; nil where its payload was already reported lost.
func (r *reader) message() (*message.Message, error) {
	i := r.at
	r.at++
	if len(r.slab) == 0 {
		r.slab = make([]message.Message, slabSize)
	}
	m := &r.slab[0]
	r.b.fill(m, i)
	if r.props || r.b.needsFull(i) {
		if err := r.b.join(m, i); err != nil {
			*m = message.Message{}
			return nil, r.rowError(i, err)
		}
	}
	if col := r.payloadColumn(i); col > 0 {
		payload, known, err := r.pay.get(i, col)
		if err != nil {
			*m = message.Message{}
			if known {
				return nil, nil
			}
			if machine(err) {
				return nil, fmt.Errorf("%s: %s: %w", r.c.s.dir, r.b.p.seg.Payload.Path, err)
			}
			return nil, r.payloadError(i, col, err)
		}
		m.Payload = payload
		if r.b.private(i) {
			if err := restore(m, payload); err != nil {
				*m = message.Message{}
				return nil, r.payloadError(i, col, err)
			}
		}
	}
	r.slab = r.slab[1:]
	return m, nil
}

// payloadColumn returns the column a row's payload is wanted from, 0 for none.
func (r *reader) payloadColumn(i int) int {
	switch {
	case r.payload == source.PayloadNone || r.b.PayloadSize[i] == 0 && !r.b.private(i):
		return 0
	case r.b.Type[i].PayloadRead():
		return payDDL
	case r.payload == source.PayloadAll:
		return payData
	}
	return 0
}

func (r *reader) rowError(i int, err error) error {
	return &source.CorruptError{Source: r.c.s.dir, Place: r.b.p.seg.Index.Path + ", id " + r.b.ID(i).String(), Lost: 1, Cause: err}
}

// payloadError reports all rows of the block that a damaged payload page costs.
func (r *reader) payloadError(i, col int, err error) error {
	last, lost := i, int64(0)
	for k := i; k < r.end && r.pay.same(i, k); k++ {
		if r.payloadColumn(k) == col {
			last = k
			lost++
		}
	}
	return &source.CorruptError{Source: r.c.s.dir, Lost: lost, Cause: err,
		Place: fmt.Sprintf("%s, ids %s … %s", r.b.p.seg.Payload.Path, r.b.ID(i), r.b.ID(last))}
}

// Close implements source.Reader.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.pay.close()
		r.c.close()
	}
	return nil
}

// payloads brings the payloads of the rows of one index block.
type payloads struct {
	fsys FS
	seg  *Segment
	row  int64 // of the index block's first row, in the segment
	file *columnfile.File
	in   ReadFile
	err  error // the file cannot be read
	page [3]payloadPage
}

// payloadPage is the page last read of one column.
type payloadPage struct {
	block    int // 1 + its number
	t        texts
	err      error
	reported bool
}

func (p *payloads) enter(c *cursor, at part) {
	if p.seg != at.seg {
		p.close()
		p.fsys, p.seg = c.s.fsys, at.seg
	}
	p.row = at.b.FirstRow
	for i := range p.page {
		p.page[i].reported = false
	}
}

// find returns the number of the payload block that holds a row.
func (p *payloads) find(i int) int {
	blocks := p.file.Blocks()
	row := p.row + int64(i)
	if k := p.page[payData].block; k > 0 {
		if b := blocks[k-1]; row >= b.FirstRow && row < b.FirstRow+int64(b.Rows) {
			return k - 1
		}
	}
	return sort.Search(len(blocks), func(k int) bool { return blocks[k].FirstRow+int64(blocks[k].Rows) > row })
}

// same reports whether two rows of the index block lie in one payload block.
func (p *payloads) same(i, k int) bool { return p.file == nil || p.find(i) == p.find(k) }

// get returns a row's payload. known says that the error was returned before.
func (p *payloads) get(i, col int) (payload []byte, known bool, err error) {
	if p.file == nil && p.err == nil {
		p.file, p.in, p.err = openColumns(p.fsys, p.seg.Payload, p.seg.Rows, payloadColumns[:])
	}
	page := &p.page[col]
	if p.err != nil {
		known, page.reported = page.reported, true
		return nil, known, p.err
	}
	k := p.find(i)
	if page.block != k+1 {
		*page = payloadPage{block: k + 1}
		page.t.ends, page.t.data, page.err = p.file.Bytes(p.file.Blocks()[k], col, nil, nil)
	}
	if page.err != nil {
		known, page.reported = page.reported, true
		return nil, known, page.err
	}
	return page.t.at(int(p.row + int64(i) - p.file.Blocks()[k].FirstRow)), false, nil
}

func (p *payloads) close() {
	if p.file != nil {
		p.file.Close()
		_ = p.in.Close() // only read
	}
	*p = payloads{}
}
