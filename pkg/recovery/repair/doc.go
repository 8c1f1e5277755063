// Package repair decides what a repair is: which edits cure which obstacle, and,
// once they are a plan, whether the catalog they leave is cured. recover and
// channels repair both ask it, so one catalog gets one repair.
//
//	replay over the catalog as it is ─► edits ─► plan ─► replay over its result
//	          obstacles                                     obstacles that stay
//
// A plan whose result still has an obstacle is not applicable, names it, and leaves
// the consume checkpoint where it is: what lies after it may be what cures it.
package repair
