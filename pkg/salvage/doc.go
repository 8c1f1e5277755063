// Package salvage brings the rows of a collection out of a log: those a reader
// gets, with deletes, drops and transactions honoured, or only those a reader
// would drop.
//
//	pass 1   order.Scanner ──► deletes by key, ends of collections and partitions,
//	                           schemas; what the scanner drops, where that is asked for
//	pass 2   order.Scanner ──► Insert ──► decode ──► which rows live ──► Sink
//	                                      (several at once, written in order)
//
// The rules are docs/salvage.md. What is held in memory is one TimeTick for each
// key deleted, and with LostOnly the messages that were dropped; both are
// bounded by Options.Memory.
package salvage
