package jsonl

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// scanLine takes the known shape of a line apart: the fields in the order the
// format names, no space between them, plain ASCII strings without escapes,
// keys sorted. It reports false for every other line, which may still be a
// record: parseAny decides. s and b are the same bytes.
func scanLine(b []byte, s string, r *record) bool {
	c := cursor{b: b}
	if !c.lit(`{"i":`) {
		return false
	}
	i, ok := c.number()
	if !ok || !c.lit(`,"id":"`) {
		return false
	}
	r.ordinal, r.size, r.hasPayload, r.payload = i, 0, false, ""
	if r.id, ok = c.str(s); !ok || !c.lit(`,"ids":"`) {
		return false
	}
	r.hasID = true
	if r.ids, ok = c.str(s); !ok || !c.lit(`,"props":{`) || !c.props(s, r) {
		return false
	}
	if c.lit(`,"payload":"`) {
		if r.payload, ok = c.str(s); !ok {
			return false
		}
		r.hasPayload = true
	}
	if c.lit(`,"d":`) {
		if len(b) < c.at+1 || b[len(b)-1] != '}' {
			return false
		}
		d := b[c.at : len(b)-1]
		if !json.Valid(d) || !utf8.Valid(d) {
			return false
		}
		if !r.hasPayload {
			r.size = detailSize(d)
		}
		return true
	}
	return c.lit("}") && c.at == len(b)
}

type cursor struct {
	b  []byte
	at int
}

func (c *cursor) lit(want string) bool {
	if end := c.at + len(want); end <= len(c.b) && string(c.b[c.at:end]) == want {
		c.at = end
		return true
	}
	return false
}

// number reads a JSON integer of up to 18 digits.
func (c *cursor) number() (int64, bool) {
	from, n := c.at, int64(0)
	for ; c.at < len(c.b) && c.at-from < 18; c.at++ {
		d := c.b[c.at] - '0'
		if d > 9 {
			break
		}
		n = n*10 + int64(d)
	}
	digits := c.at - from
	return n, digits == 1 || digits > 1 && c.b[from] != '0'
}

// str reads up to the closing quote; the opening one has been read.
func (c *cursor) str(s string) (string, bool) {
	n := plain(c.b[c.at:])
	end := c.at + n
	if end >= len(c.b) || c.b[end] != '"' {
		return "", false
	}
	v := s[c.at:end]
	c.at = end + 1
	return v, true
}

func (c *cursor) props(s string, r *record) bool {
	r.props = r.props[:0]
	if c.lit("}") {
		return true
	}
	last := ""
	for {
		if !c.lit(`"`) {
			return false
		}
		k, ok := c.str(s)
		if !ok || !c.lit(`:"`) {
			return false
		}
		v, ok := c.str(s)
		if !ok || len(r.props) > 0 && k <= last {
			return false
		}
		last = k
		r.props = append(r.props, message.Property{Key: k, Value: v})
		if c.lit("}") {
			return true
		}
		if !c.lit(",") {
			return false
		}
	}
}

// plain counts the leading bytes that stand for themselves in a JSON string:
// ASCII but for quote, backslash and control characters. Eight at a time.
func plain(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		special := (quote-ones)&^quote | (slash-ones)&^slash | (x-ones*0x20)&^x | x
		if special &= highs; special != 0 {
			return n + bits.TrailingZeros64(special)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			break
		}
	}
	return n
}
