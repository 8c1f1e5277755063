package plan

import (
	"context"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

const makeAgain = "make the plan again"

// prove holds what the plan rests on against the log as it is now: whose it is,
// every record it was made from, every position it writes.
func (p *Plan) prove(ctx context.Context, log *LogState, r *refusals) error {
	want := p.Binding.Log
	if want.Location == "" || log == nil {
		return nil
	}
	if log.Gone {
		r.seen(CodeLogLost, "if it lies elsewhere now, name it: walctl apply FILE WAL", "there is no log at %s any more", log.Location)
		return nil
	}
	if log.Source == nil {
		return nil // told as unlisted by the gate
	}
	if log.PChannel != "" && log.PChannel != p.PChannel {
		r.seen(CodeOtherLog, "give the address of the log the plan names", "the plan was made for %s, this is the log of %s", p.PChannel, log.PChannel)
	}
	if err := p.proveCovered(ctx, log, r); err != nil {
		return err
	}
	return p.provePositions(ctx, log, r)
}

// covered are the ends of what the plan was made from, as ids of the log's backend.
func (p *Plan) covered(b message.Backend) (from, to message.ID, err error) {
	if p.Coverage.From == "" || p.Coverage.To == "" {
		return from, to, nil
	}
	if from, err = message.ParseText(b, p.Coverage.From); err == nil {
		to, err = message.ParseText(b, p.Coverage.To)
	}
	return from, to, err
}

// proveCovered reads what the plan was made from once more.
func (p *Plan) proveCovered(ctx context.Context, log *LogState, r *refusals) error {
	b, cov := log.Bounds, p.Coverage
	if cov.From == "" {
		return nil
	}
	made := fmt.Sprintf("the plan was made from %s to %s", cov.From, cov.To)
	if b.Empty {
		r.seen(CodeLogEmpty, makeAgain, "%s, now the log holds no record", made)
		return nil
	}
	from, to, err := p.covered(b.First.Backend)
	if err != nil || !from.SameWAL(b.First) {
		r.seen(CodeOtherLog, "give the address of the log the plan names", "%s, this log begins at %s", made, b.First)
		return nil //nolint:nilerr // ids that this log cannot spell are a refusal, told by name
	}
	if from.Less(b.First) {
		r.seen(CodeLogLost, makeAgain, "%s, now the log begins at %s: what lay before it is gone", made, b.First)
		return nil
	}
	if b.Last.Less(to) {
		r.seen(CodeLogLost, makeAgain, "%s, now the log ends at %s: what came after it is gone", made, b.Last)
		return nil
	}
	if cov.Digest == "" {
		return nil
	}
	now, err := recovery.Cover(ctx, log.Source, from, to)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		r.unlisted("make the log readable", "the records the plan was made from: %v", err)
	case now.Records != cov.Messages || now.Digest() != cov.Digest:
		p.tellLost(now, made, r)
	}
	return nil
}

// tellLost says what of the records is not there any more, where the ids tell.
func (p *Plan) tellLost(now recovery.Coverage, made string, r *refusals) {
	told := false
	for _, g := range now.Gaps {
		lost := Gap{From: g.From(), To: g.To()}
		if !slices.ContainsFunc(p.Coverage.Gaps, func(old Gap) bool { return old.Name() == lost.Name() }) {
			r.seen(CodeLogLost, makeAgain, "%s, now what lay between %s and %s is gone", made, lost.From, lost.To)
			told = true
		}
	}
	switch have, had := now.Records, p.Coverage.Messages; {
	case told:
	case have < had:
		r.seen(CodeLogLost, makeAgain, "%s and %d messages, now %d of them are there", made, had, have)
	default:
		r.seen(CodeOtherLog, "give the address of the log the plan names", "%s, here other messages lie there", made)
	}
}

// provePositions holds every position that the plan writes against the log.
func (p *Plan) provePositions(ctx context.Context, log *LogState, r *refusals) error {
	first := log.Bounds.First.Backend
	from, to, err := p.covered(first)
	if err != nil {
		return nil //nolint:nilerr // another log, told by proveCovered
	}
	for _, c := range p.Changes {
		id, ok := c.position(first)
		if !ok {
			continue
		}
		if why := stands(log.Bounds, id); why != "" {
			r.seen(CodePositionGone, makeAgain, "%s: %s", c.Key, why)
			continue
		}
		inside := !from.IsZero() && !id.Less(from) && !to.Less(id)
		if inside || log.Bounds.Standing(id) != source.Within || id.IsEarliest() || id == message.LatestID() {
			continue // proven with its record, or not a record's
		}
		there, err := recovery.Cover(ctx, log.Source, id, id)
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil:
			r.unlisted("make the log readable", "the record at %s, which %s is moved to: %v", id, c.Key, err)
		case there.Records == 0:
			r.seen(CodePositionGone, makeAgain, "%s: no record stands at %s", c.Key, id)
		}
	}
	return nil
}

// position is where a change lets reading begin in this log; false where it sets
// none in it.
func (c Change) position(log message.Backend) (message.ID, bool) {
	if c.New == nil || c.Kind == KindAlterWAL {
		return message.ID{}, false // they go to another log, all at once
	}
	named := func(wal int32) message.Backend {
		if wal == 0 {
			return log
		}
		return message.Backend(wal)
	}
	var id message.ID
	var err error
	switch catalog.ParseKey(c.Key).Kind {
	case catalog.KeyCheckpoint:
		cp := &streamingpb.WALCheckpoint{}
		if proto.Unmarshal(c.New, cp) != nil || cp.GetMessageId().GetId() == "" {
			return id, false
		}
		id, _, err = message.ParseRaw(named(int32(cp.GetMessageId().GetWALName())), cp.GetMessageId().GetId())
	case catalog.KeyChannelCheckpoint:
		m := &msgpb.MsgPosition{}
		if proto.Unmarshal(c.New, m) != nil || catalog.ChannelDropped(m) {
			return id, false
		}
		id, _, err = message.ParseBytes(named(int32(m.GetWALName())), m.GetMsgID())
	default:
		return id, false
	}
	return id, err == nil && !id.IsZero()
}
