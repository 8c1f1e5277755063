// Package plan turns a difference between a catalog and what it should say into
// a value that can be shown, saved, applied under guards, and taken back.
//
//	Input ─ Build ─► Plan ─ Write/Read ─► file ─ Apply ─► journal ─ Undo ─► as before
//
// A plan file is JSON (docs/formats.md#plan) with a schema version and the
// SHA-256 of the rest. Apply cuts the changes into transactions, each of which
// compares, inside itself,
//
//	the session ranges          no Milvus process may live
//	every key's mod-revision    nothing may have changed since the plan was made
//	the journal's revision      nobody else may be moving this plan
//
// and writes the keys together with their journal:
//
//	walctl/active                 the id of the plan that is half done, if any
//	walctl/journal/<id>           header: who, why, when, state, transactions done
//	walctl/record/<id>/<number>   the old values of one transaction's keys
//
// So a kill at any step leaves a catalog that loads and a journal that says how
// to go on (Apply again) or back (Undo). docs/plan-apply-undo.md tells it whole.
package plan
