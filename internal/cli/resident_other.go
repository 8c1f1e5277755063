//go:build !linux

package cli

// resident is how many bytes of the process lie in memory; false where the system
// does not tell.
func resident() (int64, bool) { return 0, false }
