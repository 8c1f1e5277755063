package walgen

import (
	"encoding/base64"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func appendVarint(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendText(b []byte, n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// marshal never fails: every message is built here from valid text.
func marshal(m proto.Message) []byte {
	if m == nil {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic("walgen: " + err.Error())
	}
	return b
}

func (g *Generator) insertHeader(b []byte, c *collection, p *partition, s *segment, rows, size uint64) []byte {
	var inner [32]byte
	assign := appendVarint(inner[:0], 1, uint64(s.id))
	var mid [96]byte
	part := appendVarint(mid[:0], 1, uint64(p.id))
	part = appendVarint(part, 2, rows)
	part = appendVarint(part, 3, size)
	part = appendBytes(part, 4, assign)
	b = appendVarint(b, 1, uint64(c.id))
	b = appendBytes(b, 2, part)
	if g.cfg.Version == Version30 {
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(c.schema.GetVersion()))
	}
	return b
}

func deleteHeader(b []byte, c *collection, rows uint64) []byte {
	return appendVarint(appendVarint(b, 1, uint64(c.id)), 2, rows)
}

func (g *Generator) segmentHeader(s *segment, create bool) string {
	b := appendVarint(g.scratch[:0], 1, uint64(s.coll.id))
	b = appendVarint(b, 2, uint64(s.part.id))
	b = appendVarint(b, 3, uint64(s.id))
	if create {
		b = appendVarint(b, 4, 2) // storage version
		b = appendVarint(b, 5, s.limit)
		b = appendVarint(b, 6, ^uint64(0)) // rows are not limited
		b = appendVarint(b, 7, 2)          // L1
		if g.cfg.Version == Version30 {
			b = appendVarint(b, 8, uint64(s.coll.schema.GetVersion()))
		}
	}
	g.scratch = b
	return b64(b)
}

func txnHeader(id, keepalive int64) string {
	return b64(appendVarint(appendVarint(nil, 1, uint64(id)), 2, uint64(keepalive)))
}

// timeTickBody is msgpb.TimeTickMsg{base{type 1200, timestamp, source node}}.
func (g *Generator) timeTickBody(tt uint64) []byte {
	var base [40]byte
	b := appendVarint(base[:0], 1, 1200)
	b = appendVarint(b, 3, tt)
	b = appendVarint(b, 4, uint64(g.cfg.NodeID))
	out := g.alloc(len(b) + 4)
	return appendBytes(out, 1, b)
}

// alloc cuts room for a small payload from a shared block.
func (g *Generator) alloc(n int) []byte {
	if n > 4096 {
		return make([]byte, 0, n)
	}
	if cap(g.arena)-len(g.arena) < n {
		g.arena = make([]byte, 0, 64<<10)
	}
	at := len(g.arena)
	g.arena = g.arena[:at+n]
	return g.arena[at : at : at+n]
}

// unb64 decodes what b64 made; anything else comes back empty.
func unb64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
