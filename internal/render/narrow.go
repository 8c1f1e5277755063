package render

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A table that is wider than the terminal is made narrower, a step at a time, until
// it fits: the short form of cells, names without what a whole column begins with,
// the spare columns gone, then the widest column cut. -o wide and programs get every cell whole.
//
//	by-dev-rootcoord-dml_0_450000000000000004v0      …4v0
//	by-dev-rootcoord-dml_0_450000000000000010v0  →   …10v0

// gap is what stands between two columns.
const gap = 2

// leastColumn is how narrow a column is cut at most.
const leastColumn = 12

// leastPrefix is how much a column has to have in common before it is left out.
const leastPrefix = 6

type grid struct {
	header []string
	rows   [][]string
	short  [][]string // in the same places; "" = no shorter form
	right  []bool
	spare  []bool
}

// fit makes the grid no wider than width columns where it can.
func (g *grid) fit(width int) {
	if g.width() <= width {
		return
	}
	for i, row := range g.short {
		for j, s := range row {
			if s != "" {
				g.rows[i][j] = s
			}
		}
	}
	for g.width() > width && g.dropPrefix() {
	}
	for j := len(g.header) - 1; j >= 0 && g.width() > width; j-- {
		if g.spare[j] {
			g.dropColumn(j)
		}
	}
	for g.width() > width {
		col, wide := g.widest()
		if wide <= leastColumn {
			return
		}
		g.cut(col, max(leastColumn, wide-(g.width()-width)))
	}
}

// width is the width of the whole grid.
func (g *grid) width() int {
	sum := 0
	for j := range g.header {
		sum += g.column(j) + gap
	}
	return sum - gap
}

// column is the width of one column.
func (g *grid) column(j int) int {
	wide := ansi.StringWidth(g.header[j])
	for _, row := range g.rows {
		if j < len(row) {
			wide = max(wide, ansi.StringWidth(row[j]))
		}
	}
	return wide
}

// widest is the widest column of text.
func (g *grid) widest() (col, wide int) {
	for j := range g.header {
		if w := g.column(j); !g.right[j] && w > wide {
			col, wide = j, w
		}
	}
	return col, wide
}

// dropPrefix leaves out what all cells of a column begin with, in the column where
// that saves most. It reports whether there was one.
func (g *grid) dropPrefix() bool {
	col, most := -1, ""
	for j := range g.header {
		if p := g.prefix(j); !g.right[j] && len(p) > len(most) && g.column(j) > ansi.StringWidth(g.header[j]) {
			col, most = j, p
		}
	}
	if col < 0 {
		return false
	}
	for _, row := range g.rows {
		if col < len(row) && row[col] != "" {
			row[col] = "…" + strings.TrimPrefix(row[col], most)
		}
	}
	return true
}

// dropColumn leaves a column out.
func (g *grid) dropColumn(j int) {
	g.header = slices.Delete(g.header, j, j+1)
	g.right, g.spare = slices.Delete(g.right, j, j+1), slices.Delete(g.spare, j, j+1)
	for i := range g.rows {
		if j < len(g.rows[i]) {
			g.rows[i] = slices.Delete(g.rows[i], j, j+1)
		}
	}
}

// prefix is what every cell of a column begins with, up to and without the last
// separator in it; of a name alone nothing is common.
func (g *grid) prefix(j int) string {
	var common string
	seen := 0
	for _, row := range g.rows {
		if j >= len(row) || row[j] == "" {
			continue
		}
		if seen++; seen == 1 {
			common = row[j]
			continue
		}
		for !strings.HasPrefix(row[j], common) {
			common = common[:len(common)-1]
		}
	}
	end := strings.LastIndexAny(common, "_/")
	if seen < 1 || end < leastPrefix || strings.HasPrefix(common, "…") || strings.Contains(common, " ") {
		return ""
	}
	return common[:end]
}

// cut shortens the cells of a column to width, names at their beginning: what tells
// them apart stands at their end.
func (g *grid) cut(col, width int) {
	for _, row := range g.rows {
		if col >= len(row) || ansi.StringWidth(row[col]) <= width {
			continue
		}
		if strings.ContainsAny(row[col], " {") {
			row[col] = ansi.Truncate(row[col], width, "…")
		} else {
			row[col] = ansi.TruncateLeft(row[col], ansi.StringWidth(row[col])-width+1, "…")
		}
	}
	g.header[col] = ansi.Truncate(g.header[col], width, "…")
}
