// Package dirs looks for the logs that lie in and below a directory.
package dirs

import "context"

// most bounds how many directories are looked into.
const most = 20000

// Below looks into a directory and what lies below it, level by level, at most depth
// levels. look takes in what it finds in one and returns those to look into next.
func Below(ctx context.Context, top string, depth int, look func(dir string) []string) error {
	level, seen := []string{top}, 0
	for ; depth > 0 && len(level) > 0; depth-- {
		var next []string
		for _, dir := range level {
			if seen++; seen > most {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			next = append(next, look(dir)...)
		}
		level = next
	}
	return nil
}
