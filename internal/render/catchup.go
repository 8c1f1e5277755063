package render

import (
	"strings"

	"github.com/walctl/walctl/pkg/scanner"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// The size of the drawing: columns of the virtual clock, columns of what a scanner that
// opens last reads at once, rows of the log's time.
const (
	clockColumns = 32
	readColumns  = 16
	catchUpRows  = 5
)

// CatchUp draws a simulation: upwards the log's time, to the right the virtual clock, and
// after the bar what the scanner reads at once. o is the buffer's oldest message, s the
// scanner, * where it gets over to the buffer. A scanner that has read no TimeTick runs
// along the bottom.
//
//	                                   o|oo*
//	                           oooooooo | s
//	oooooooooooooooooooooooooooo        |s
func CatchUp(s Style, r *scanner.Result) []string {
	if len(r.Trace) == 0 {
		return nil
	}
	d := drawing{trace: r.Trace, reads: len(r.Trace)}
	d.measure()
	d.fill()
	if r.Outcome == scanner.Meets {
		d.mark(d.meeting(r), d.row(r.AtTimeTick), '*')
	}
	lines := make([]string, 0, catchUpRows+2)
	for row := catchUpRows; row >= d.bottom; row-- {
		lines = append(lines, strings.TrimRight("  "+d.line(s, row)+d.label(row), " "))
	}
	key := "  o the buffer's oldest message · s the scanner"
	if r.Outcome == scanner.Meets {
		key += " · * over to the buffer"
	}
	if d.reads < len(d.trace) {
		key += " · | it opens"
	}
	return append(lines, key)
}

// drawing is a grid being filled. Row 0 is that of no TimeTick.
type drawing struct {
	trace     []scanner.Point
	reads     int // the first point of the columns after the bar
	columns   int
	bottom    int
	low, high int64 // the log's times, milliseconds
	cells     [catchUpRows + 1][clockColumns + readColumns + 1]byte
}

// measure finds the ends of both axes.
func (d *drawing) measure() {
	for i, p := range d.trace {
		if i > 0 && p.Open && !d.trace[0].Open {
			d.reads = min(d.reads, i)
		}
		for _, t := range [2]uint64{p.Oldest, p.Scanner} {
			if at := message.PhysicalMillis(t); t > 0 {
				if d.low == 0 || at < d.low {
					d.low = at
				}
				d.high = max(d.high, at)
			}
		}
	}
	d.columns, d.bottom = clockColumns, 1
	if d.reads < len(d.trace) {
		d.columns += 1 + readColumns
	}
	for _, p := range d.trace {
		if p.Open && p.Scanner == 0 {
			d.bottom = 0
		}
	}
}

// column is the last column of a point.
func (d *drawing) column(i int) int {
	if i >= d.reads {
		return clockColumns + 1 + (i-d.reads+1)*readColumns/(len(d.trace)-d.reads) - 1
	}
	from, to := d.trace[0].VirtualMS, d.trace[d.reads-1].VirtualMS
	if to <= from {
		return clockColumns - 1
	}
	return int(float64(d.trace[i].VirtualMS-from) / float64(to-from) * (clockColumns - 1))
}

// meeting is the column in which the scanner gets over to the buffer.
func (d *drawing) meeting(r *scanner.Result) int {
	c := d.columns - 1
	for i := len(d.trace) - 1; i >= 0 && r.Pause != "" && d.trace[i].VirtualMS >= r.VirtualMS; i-- {
		c = d.column(i)
	}
	return min(c, d.columns-1)
}

// row is the row of a TimeTick.
func (d *drawing) row(tick uint64) int {
	at := message.PhysicalMillis(tick)
	switch {
	case tick == 0:
		return 0
	case d.high <= d.low || at >= d.high:
		return catchUpRows
	}
	return 1 + int(float64(max(at, d.low)-d.low)/float64(d.high-d.low)*(catchUpRows-1))
}

func (d *drawing) mark(column, row int, c byte) { d.cells[row][column] = c }

// fill draws both lines, each held until the next point.
func (d *drawing) fill() {
	for row := range d.cells {
		for c := range d.cells[row] {
			d.cells[row][c] = ' '
		}
		if d.reads < len(d.trace) {
			d.cells[row][clockColumns] = '|'
		}
	}
	i := 0
	for c := 0; c < d.columns; c++ {
		if c == clockColumns {
			i = min(d.reads, len(d.trace)-1)
			continue
		}
		for i+1 < len(d.trace) && d.column(i+1) <= c {
			i++
		}
		p := d.trace[i]
		if i >= d.reads && d.column(i) < c && i+1 < len(d.trace) {
			p = d.trace[i+1]
		}
		d.mark(c, d.row(p.Oldest), 'o')
		if p.Open {
			d.mark(c, d.row(p.Scanner), 's')
		}
	}
}

func (d *drawing) line(s Style, row int) string {
	var b strings.Builder
	for _, c := range d.cells[row][:d.columns] {
		switch c {
		case 's':
			b.WriteString(s.Paint("warning", "s"))
		case '*':
			b.WriteString(s.Paint("ok", "*"))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// label names the log's time of the outermost rows.
func (d *drawing) label(row int) string {
	switch {
	case row == 0:
		return "  no TimeTick"
	case row == catchUpRows:
		return "  " + HumanTime(TickTime(message.ComposeTSO(d.high, 0)))
	case row == 1:
		return "  " + HumanTime(TickTime(message.ComposeTSO(d.low, 0)))
	}
	return ""
}
