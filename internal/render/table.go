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
type Cell struct {
	Human, Raw string
	Short      string // for a person where the terminal is too narrow; "" = Human
}

// Text is a name or an id.
func Text(s string) Cell { return Cell{Human: s, Raw: s} }

// Count is a number of things.
func Count(n int64) Cell { return Cell{Human: Thousands(n), Raw: strconv.FormatInt(n, 10)} }

// Bytes is a size.
func Bytes(n int64) Cell { return Cell{Human: HumanBytes(n), Raw: strconv.FormatInt(n, 10)} }

// Time is a moment; where there is no room it is told to the second, without its year.
func Time(t time.Time) Cell {
	c := Cell{Human: HumanTime(t), Raw: RFC3339(t)}
	if !t.IsZero() {
		c.Short = t.UTC().Format("01-02 15:04:05Z")
	}
	return c
}

// Tick is a TimeTick shown as its time.
func Tick(tso uint64) Cell { return Time(TickTime(tso)) }

// Number is a plain number without separators, such as a TSO or an id.
func Number[N ~int | ~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64](n N) Cell {
	return Text(fmt.Sprint(n))
}

// Duration is a length of time; programs get seconds.
func Duration(d time.Duration) Cell {
	return Cell{Human: HumanDuration(d), Raw: strconv.FormatFloat(d.Seconds(), 'f', -1, 64)}
}

// Column heads a column. Wide ones are shown with -o wide only; spare ones go first
// where the terminal is too narrow.
type Column struct {
	Name  string
	Right bool
	Wide  bool
	Spare bool
}

// Table is rows of cells, one for each column.
type Table struct {
	Columns  []Column
	Rows     [][]Cell
	NoHeader bool // the header was already printed
	Most     int  // rows on a terminal, but with -o wide; 0 = all
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// shown lists the columns that are printed.
func (t *Table) shown(wide bool) []int {
	var all []int
	for i, c := range t.Columns {
		if wide || !c.Wide {
			all = append(all, i)
		}
	}
	return all
}

// project returns the columns shown, each cell as form makes it.
func (t *Table) project(columns []int, form func(Cell) string) (header []string, rows [][]string) {
	for _, i := range columns {
		header = append(header, strings.ToUpper(t.Columns[i].Name))
	}
	for _, r := range t.Rows {
		row := make([]string, 0, len(columns))
		for _, i := range columns {
			if i < len(r) {
				row = append(row, Clean(form(r[i])))
			}
		}
		rows = append(rows, row)
	}
	return header, rows
}

func raw(c Cell) string   { return c.Raw }
func human(c Cell) string { return c.Human }
func short(c Cell) string { return c.Short }

// Write prints the table: aligned on a terminal and no wider than it, tab-separated
// elsewhere.
func (t *Table) Write(w io.Writer, s Style) error {
	if !s.Terminal {
		header, rows := t.project(t.shown(s.Wide), raw)
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
	g := t.grid(t.shown(s.Wide))
	more := 0
	if !s.Wide && t.Most > 0 && len(g.rows) > t.Most+1 {
		more = len(g.rows) - t.Most
		g.rows, g.short = g.rows[:t.Most], g.short[:t.Most]
	}
	if !s.Wide && s.Width > 0 {
		g.fit(s.Width)
	}
	if err := t.aligned(w, &g); err != nil || more == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "… %s more (-o wide)\n", Thousands(int64(more)))
	return err
}

// grid is the columns shown as a person reads them.
func (t *Table) grid(columns []int) grid {
	g := grid{}
	g.header, g.rows = t.project(columns, human)
	_, g.short = t.project(columns, short)
	for _, c := range columns {
		g.right = append(g.right, t.Columns[c].Right)
		g.spare = append(g.spare, t.Columns[c].Spare)
	}
	return g
}

func (t *Table) aligned(w io.Writer, g *grid) error {
	align := make([]tw.Align, len(g.header))
	for i := range align {
		align[i] = tw.AlignLeft
		if g.right[i] {
			align[i] = tw.AlignRight
		}
	}
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
		table.Header(g.header)
	}
	if err := table.Bulk(g.rows); err != nil {
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
	header, rows := t.project(t.shown(true), raw)
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
