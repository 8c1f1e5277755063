package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/selector"
)

// maxKeptProps is how long a list of properties is kept for the next line.
const maxKeptProps = 256

// parser turns chunks of lines into messages. Each goroutine has its own.
type parser struct {
	name    string
	rng     source.Range
	dec     message.Decoder
	rec     record
	scratch message.Message
	slab    []message.Message
}

func (p *parser) chunk(c *chunk) {
	// One copy of the whole chunk as a string lets every field be a substring;
	// what a message keeps is cloned out of it, so that it dies with the chunk.
	text := string(c.buf)
	c.items = make([]selector.Item, 0, bytes.Count(c.buf, []byte{'\n'})+1)
	at := 0
	for line := c.line; at < len(c.buf); line++ {
		end, next := len(c.buf), len(c.buf)
		if n := bytes.IndexByte(c.buf[at:], '\n'); n >= 0 {
			end, next = at+n, at+n+1
		}
		torn := c.tail && next == len(c.buf)
		m, err := p.line(c.buf[at:end], text[at:end], line)
		switch {
		case err == nil:
			c.items = append(c.items, selector.Item{M: m})
		case errors.Is(err, errNoRecord):
		case torn && isCut(c.buf[at:end]):
			c.items = append(c.items, selector.Item{Err: tornTail(p.name, line, c.offset+int64(at))})
		default:
			c.items = append(c.items, selector.Item{Err: corrupt(p.name, line, c.offset+int64(at), err)})
		}
		at = next
	}
	// Nothing of the chunk stays behind in what the next one uses again.
	kept := p.rec.props[:0]
	if cap(kept) > maxKeptProps {
		kept = nil
	}
	clear(kept[:cap(kept)])
	p.rec = record{props: kept}
	p.scratch = message.Message{}
}

// line parses one line. The message returned shares no memory with it.
func (p *parser) line(b []byte, s string, n int64) (*message.Message, error) {
	if !scanLine(b, s, &p.rec) {
		if err := parseAny(b, &p.rec); err != nil {
			return nil, err
		}
	}
	p.scratch = message.Message{}
	m := &p.scratch
	if err := p.rec.fill(m, &p.dec, n-1, p.rng.Payload.Wants); err != nil {
		return nil, err
	}
	full := m.NeedsFull()
	if full || p.rng.Props {
		m.Props = m.Props.Clone()
	} else {
		m.Props = nil
	}
	// What replay may keep for long, and what holds a payload, stands alone:
	// one message kept must not keep others. The rest comes in slabs.
	if full || len(m.Payload) > 0 {
		out := *m
		return &out, nil
	}
	if len(p.slab) == 0 {
		p.slab = make([]message.Message, slabRecords)
	}
	out := &p.slab[0]
	p.slab = p.slab[1:]
	*out = *m
	return out, nil
}

// isCut tells a last line that stops in the middle of a record from one that is
// damaged: what stands there is the beginning of an object, and nothing else.
func isCut(line []byte) bool {
	line = bytes.TrimSpace(line)
	for n := 1; n < utf8.UTFMax && n <= len(line) && !utf8.Valid(line); n++ { // a character cut in two
		if at := len(line) - n; utf8.RuneStart(line[at]) && !utf8.FullRune(line[at:]) {
			line = line[:at]
		}
	}
	if !bytes.HasPrefix(line, []byte("{")) || !utf8.Valid(line) {
		return false
	}
	var v json.RawMessage
	return errors.Is(json.NewDecoder(bytes.NewReader(line)).Decode(&v), io.ErrUnexpectedEOF)
}

func tornTail(name string, line, offset int64) error {
	return fmt.Errorf("%s ends within line %d (byte %d): %w", name, line, offset, source.ErrTornTail)
}

func corrupt(name string, line, offset int64, cause error) error {
	return &source.CorruptError{Source: name, Place: fmt.Sprintf("line %d (byte %d)", line, offset), Lost: 1, Cause: cause}
}
