// Package channelbuf holds the write buffers of a replay: one for each vchannel,
// over all pchannels replayed together, within one budget of bytes.
//
//	Delivery ──► Registry ──► Buffer (vchannel, incarnation)
//	                            ├─ segment ── chunk chunk chunk   rows as logged
//	                            ├─ segment ── chunk chunk
//	                            └─ deletes ── chunk               keys as logged
//	                                 │
//	             Budget: reserve before holding; back-pressure, then spill
//	             the largest buffer to a temporary file, then a clear error
//
// Registering never fails because a vchannel is already registered: the answer
// says whether a buffer was created, existed, or was superseded. Only an older
// incarnation is refused, by a *StaleError.
//
// A chunk in memory is the payload of one message; a spilled one is its place
// in the buffer's temporary file and the CRC-32C it must have when read again.
package channelbuf
