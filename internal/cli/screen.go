package cli

import (
	"fmt"

	"github.com/walctl/walctl/internal/render"
)

// The first screen: at most ScreenLines lines, in the order an operator asks. What
// does not fit is in -o wide.
const (
	ScreenLines = 15
	TableRows   = 8 // of a table below a report's first lines
)

// PrintLines prints lines, each free of what a terminal would obey.
func PrintLines(f *Factory, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(f.Out(), render.Clean(l)); err != nil {
			return err
		}
	}
	return nil
}
