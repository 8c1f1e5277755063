// Package english counts things in plain English, for what backends say of their disks.
package english

import "fmt"

// Number is a count of things: 1 message, 2 messages.
func Number(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Are is the verb that goes with a count.
func Are(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
