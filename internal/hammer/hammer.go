// Package hammer feeds decoders millions of damaged inputs, the same ones every
// time. It stands beside the fuzz targets: those look for new paths, this one
// only makes sure of depth, at the price of the decoder alone.
package hammer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// EnvTimes names the variable that says how often a decoder is called.
const EnvTimes = "WALCTL_HAMMER"

// usually is how often a decoder is called where nothing is said.
const usually = 20_000

// maxField keeps inputs small: damage in them is the same, and found sooner.
const maxField = 1 << 10

// Run calls decode with damaged copies of the seeds, each a list of the fields
// decode takes. decode must not keep them. A panic fails the test and shows the
// fields that caused it.
func Run(t *testing.T, seeds [][][]byte, decode func(fields [][]byte)) {
	t.Helper()
	times := usually
	if s := os.Getenv(EnvTimes); s != "" {
		var err error
		if times, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s=%q: want a number", EnvTimes, s)
		}
	}
	m := mutator{r: rand.New(rand.NewPCG(1, uint64(len(seeds)))), seeds: seeds}
	defer func() {
		p := recover()
		if p != nil {
			t.Errorf("panic: %v", p)
		}
		if t.Failed() {
			t.Logf("fields: %s", m.text())
		}
	}()
	for range times {
		decode(m.next())
	}
	t.Logf("%d damaged inputs", times)
}

// mutator makes inputs out of seeds. Its memory is used again.
type mutator struct {
	r      *rand.Rand
	seeds  [][][]byte
	fields [][]byte
}

func (m *mutator) text() string { return fmt.Sprintf("%q", m.fields) }

// next damages a seed in one to six places.
func (m *mutator) next() [][]byte {
	seed := m.seeds[m.r.IntN(len(m.seeds))]
	for len(m.fields) < len(seed) {
		m.fields = append(m.fields, nil)
	}
	m.fields = m.fields[:len(seed)]
	for i := range seed {
		m.fields[i] = append(m.fields[i][:0], seed[i]...)
	}
	for range 1 + m.r.IntN(6) {
		i := m.r.IntN(len(m.fields))
		m.fields[i] = m.damage(m.fields[i], i)
	}
	return m.fields
}

// edges are values that lengths and counts break at.
var edges = [...]byte{0, 1, 0x7f, 0x80, 0xff, 0xfe, '"', '\\', '/', '{', '9', '='}

func (m *mutator) damage(b []byte, field int) []byte {
	if len(b) == 0 || m.r.IntN(8) == 0 {
		return m.grow(b, field)
	}
	at := m.r.IntN(len(b))
	switch m.r.IntN(6) {
	case 0:
		b[at] ^= 1 << m.r.IntN(8)
	case 1:
		b[at] = edges[m.r.IntN(len(edges))]
	case 2:
		b[at] = byte(m.r.Uint32())
	case 3: // cut the end off
		return b[:at]
	case 4: // take a part out
		n := 1 + m.r.IntN(len(b)-at)
		return append(b[:at], b[at+n:]...)
	case 5: // a part over another
		copy(b[at:], b[m.r.IntN(len(b)):])
	}
	return b
}

// grow puts a byte, a number without end, or a part of another seed in.
func (m *mutator) grow(b []byte, field int) []byte {
	if len(b) >= maxField {
		return b
	}
	at := m.r.IntN(len(b) + 1)
	var in []byte
	switch m.r.IntN(3) {
	case 0:
		in = []byte{edges[m.r.IntN(len(edges))]}
	case 1:
		in = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}[m.r.IntN(9):]
	default:
		other := m.seeds[m.r.IntN(len(m.seeds))]
		if field < len(other) && len(other[field]) > 0 {
			o := other[field]
			from := m.r.IntN(len(o))
			in = o[from:min(len(o), from+1+m.r.IntN(32))]
		}
	}
	b = append(b, in...)
	copy(b[at+len(in):], b[at:len(b)-len(in)])
	copy(b[at:], in)
	return b
}
