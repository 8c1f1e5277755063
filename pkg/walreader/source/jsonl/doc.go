// Package jsonl reads and writes a WAL as text: one persisted message a line, in
// log order. What `inspect --records -o ndjson --data` prints is what this
// package reads, so that a log can be piped, edited and replayed.
//
//	{"i":12,"id":"CAUQDBgAIAAwAQ==","ids":"5/12/0","props":{"_t":"2",…},"payload":"CgI…","d":{…}}
//	   │      │                       │              │                  │               │
//	   │      │                       │              │                  │               └ decoded fields,
//	   │      │                       │              │                  │                 for people; not read
//	   │      │                       │              │                  └ standard base64; absent where the
//	   │      │                       │              │                    rows were left out on purpose
//	   │      │                       │              └ properties as on the wire, all strings
//	   │      │                       └ readable id; its parts tell the backend:
//	   │      │                         3 Pulsar, 2 Woodpecker, 1 an offset
//	   │      └ id as stored in checkpoints and in `_lc`
//	   └ ordinal in the log
//
// Plain, gzip and zstd are told apart by content. `i`, `id` and `ids` are kept
// as found, also where they are not spelled as walctl would. Of `d` only
// payload_size is read, and only where payload is absent. A line that carries
// `schema` and no `props` is no record (a report's head) and is skipped, as are
// empty lines.
package jsonl
