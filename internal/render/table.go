package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Cell is one value: as a person reads it and as a program does.
type Cell struct{ Human, Raw string }

// Text is a name or an id.
func Text(s string) Cell { return Cell{s, s} }

// Count is a number of things.
func Count(n int64) Cell { return Cell{Thousands(n), strconv.FormatInt(n, 10)} }

// Bytes is a size.
func Bytes(n int64) Cell { return Cell{HumanBytes(n), strconv.FormatInt(n, 10)} }

// Time is a moment.
func Time(t time.Time) Cell { return Cell{HumanTime(t), RFC3339(t)} }

// Tick is a TimeTick shown as its time.
func Tick(tso uint64) Cell { return Time(TickTime(tso)) }

// Number is a plain number without separators, such as a TSO or an id.
func Number[N ~int | ~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64](n N) Cell {
	return Text(fmt.Sprint(n))
}

// Duration is a length of time; programs get seconds.
func Duration(d time.Duration) Cell {
	return Cell{HumanDuration(d), strconv.FormatFloat(d.Seconds(), 'f', -1, 64)}
}

// Column heads a column. Wide ones are shown with -o wide only.
type Column struct {
	Name  string
	Right bool
	Wide  bool
}

// Table is rows of cells, one for each column.
type Table struct {
	Columns  []Column
	Rows     [][]Cell
	NoHeader bool // the header was already printed
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// project returns header and rows as strings: the columns shown, in the form asked for.
func (t *Table) project(wide, human bool) (header []string, rows [][]string) {
	for _, c := range t.Columns {
		if wide || !c.Wide {
			header = append(header, strings.ToUpper(c.Name))
		}
	}
	for _, r := range t.Rows {
		row := make([]string, 0, len(header))
		for i, c := range t.Columns {
			if !wide && c.Wide || i >= len(r) {
				continue
			}
			s := r[i].Raw
			if human {
				s = r[i].Human
			}
			row = append(row, Clean(s))
		}
		rows = append(rows, row)
	}
	return header, rows
}

// Write prints the table: aligned on a terminal, tab-separated elsewhere.
func (t *Table) Write(w io.Writer, s Style) error {
	if !s.Terminal {
		header, rows := t.project(s.Wide, false)
		if !t.NoHeader {
			rows = append([][]string{header}, rows...)
		}
		for _, r := range rows {
			if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	header, rows := t.project(s.Wide, true)
	align := []tw.Align{}
	for _, c := range t.Columns {
		if !s.Wide && c.Wide {
			continue
		}
		if c.Right {
			align = append(align, tw.AlignRight)
		} else {
			align = append(align, tw.AlignLeft)
		}
	}
	return t.aligned(w, header, rows, align)
}

func (t *Table) aligned(w io.Writer, header []string, rows [][]string, align []tw.Align) error {
	pad := tw.CellPadding{Global: tw.Padding{Left: "", Right: "  ", Overwrite: true}}
	format := func() tw.CellConfig {
		return tw.CellConfig{
			Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
			Alignment:  tw.CellAlignment{PerColumn: align},
			Padding:    pad,
		}
	}
	var b strings.Builder
	table := tablewriter.NewTable(&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Settings: tw.Settings{
				Lines:      tw.LinesNone,
				Separators: tw.SeparatorsNone,
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: format(), Row: format()}),
	)
	if !t.NoHeader {
		table.Header(header)
	}
	if err := table.Bulk(rows); err != nil {
		return fmt.Errorf("draw a table: %w", err)
	}
	if err := table.Render(); err != nil {
		return fmt.Errorf("draw a table: %w", err)
	}
	for _, line := range strings.SplitAfter(b.String(), "\n") {
		if line == "" {
			continue
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// CSV prints the table as RFC 4180, raw values, every column.
func (t *Table) CSV(w io.Writer) error {
	header, rows := t.project(true, false)
	for i := range header {
		header[i] = strings.ReplaceAll(strings.ToLower(header[i]), " ", "_")
	}
	c := csv.NewWriter(w)
	if !t.NoHeader {
		rows = append([][]string{header}, rows...)
	}
	return c.WriteAll(rows)
}

// Paint colours text for a severity word where the style has colour.
func (s Style) Paint(word, text string) string {
	if !s.Color {
		return text
	}
	style := lipgloss.NewStyle().Bold(true)
	switch strings.ToLower(word) {
	case "critical":
		style = style.Foreground(lipgloss.Color("1")).Reverse(true)
	case "error":
		style = style.Foreground(lipgloss.Color("1"))
	case "warning":
		style = style.Foreground(lipgloss.Color("3"))
	case "ok":
		style = style.Foreground(lipgloss.Color("2"))
	case "info":
		style = style.Foreground(lipgloss.Color("6"))
	}
	return style.Render(text)
}
