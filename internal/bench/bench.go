// Package bench holds what benchmarks measure with: processor time, which is
// true on a machine that others use too, and memory.
package bench
