package inspect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/rows"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// recordSink is one way to print records.
type recordSink interface {
	write(*message.Message) error
	flush() error
	close() error
}

func inspectRecords(ctx context.Context, f *cli.Factory, o *options, s source.Source, filter *cli.Filter) error {
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return err
	}
	limit := rng.Limit
	if !filter.Empty() {
		rng.Limit = 0 // the limit counts what is shown
	}
	rng.Props = o.output == cli.NDJSON || o.output == cli.JSON
	if o.data {
		rng.Payload = source.PayloadAll
	}
	r, err := openReader(ctx, s, rng, o.follow)
	if err != nil {
		return err
	}
	defer r.Close()
	sink := newSink(f, o, s)
	bad := &cli.Damage{Factory: f}
	for shown := int64(0); limit == 0 || shown < limit; {
		m, err := r.Next(ctx)
		if err != nil {
			more, fatal := bad.See(err)
			if more {
				continue
			}
			if fatal != nil {
				return errors.Join(sink.flush(), fatal)
			}
			break
		}
		if !filter.Has(m) {
			continue
		}
		shown++
		if err := sink.write(m); err != nil {
			return err
		}
		if o.follow {
			if err := errors.Join(sink.flush(), f.Flush()); err != nil {
				return err
			}
		}
	}
	if err := sink.close(); err != nil {
		return err
	}
	return bad.Err()
}

func openReader(ctx context.Context, s source.Source, rng source.Range, follow bool) (source.Reader, error) {
	if !follow {
		return s.Open(ctx, rng)
	}
	fs, ok := source.As[source.FollowSource](s)
	if !ok {
		return nil, cli.Usagef("-f: a log of kind %s does not grow; it can be read, not followed", s.Describe().Kind)
	}
	return fs.Follow(ctx, rng)
}

func newSink(f *cli.Factory, o *options, s source.Source) recordSink {
	switch o.output {
	case cli.NDJSON:
		return ndjsonSink{jsonl.NewWriter(f.Out(), jsonl.Options{Data: o.data})}
	case cli.JSON:
		return &jsonSink{w: f.Out(), s: s}
	}
	return &tableSink{f: f, o: o, csv: o.output == cli.CSV, t: recordTable()}
}

type ndjsonSink struct{ w *jsonl.Writer }

func (k ndjsonSink) write(m *message.Message) error { return k.w.Write(m) }
func (k ndjsonSink) flush() error                   { return k.w.Flush() }
func (k ndjsonSink) close() error                   { return k.w.Flush() }

// jsonSink writes one object whose records come as they are read.
type jsonSink struct {
	w    io.Writer
	s    source.Source
	n    int
	head bool
}

func (k *jsonSink) open() error {
	if k.head {
		return nil
	}
	k.head = true
	h, err := json.Marshal(render.NewHeader("inspect", cli.DescribeWAL(k.s), nil))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.w, "%s,\"records\":[", strings.TrimSuffix(string(h), "}"))
	return err
}

func (k *jsonSink) write(m *message.Message) error {
	if err := k.open(); err != nil {
		return err
	}
	sep := "\n"
	if k.n > 0 {
		sep = ",\n"
	}
	k.n++
	if _, err := io.WriteString(k.w, sep); err != nil {
		return err
	}
	b, err := recordJSON(m, false)
	if err == nil {
		_, err = k.w.Write(b)
	}
	return err
}

func (k *jsonSink) flush() error { return nil }

func (k *jsonSink) close() error {
	if err := k.open(); err != nil {
		return err
	}
	_, err := io.WriteString(k.w, "]}\n")
	return err
}

// recordJSON is a message's record line, without its line end.
func recordJSON(m *message.Message, data bool) ([]byte, error) {
	var b strings.Builder
	w := jsonl.NewWriter(&b, jsonl.Options{Data: data})
	if err := errors.Join(w.Write(m), w.Flush()); err != nil {
		return nil, err
	}
	return []byte(strings.TrimRight(b.String(), "\n")), nil
}

func recordTable() render.Table {
	return render.Table{Columns: []render.Column{
		{Name: "id"}, {Name: "time"}, {Name: "type"}, {Name: "term", Right: true}, {Name: "vchannel"},
		{Name: "collection", Right: true}, {Name: "segment", Right: true}, {Name: "rows", Right: true},
		{Name: "bytes", Right: true}, {Name: "note"},
		{Name: "tt", Wide: true, Right: true}, {Name: "raw id", Wide: true}, {Name: "last confirmed", Wide: true},
		{Name: "barrier", Wide: true, Right: true}, {Name: "partition", Wide: true, Right: true},
		{Name: "txn", Wide: true, Right: true}, {Name: "version", Wide: true, Right: true}, {Name: "i", Wide: true, Right: true},
	}}
}

// tableSink draws records in blocks, so that a long log needs no memory and a
// followed one shows at once.
type tableSink struct {
	f      *cli.Factory
	o      *options
	csv    bool
	t      render.Table
	headed bool
}

// tableBlock is how many rows are aligned together.
const tableBlock = 512

func (k *tableSink) write(m *message.Message) error {
	k.t.Add(recordRow(m)...)
	if len(k.t.Rows) >= tableBlock {
		return k.flush()
	}
	return nil
}

func (k *tableSink) flush() error {
	if len(k.t.Rows) == 0 && k.headed {
		return nil
	}
	k.t.NoHeader, k.headed = k.headed, true
	var err error
	if k.csv {
		err = k.t.CSV(k.f.Out())
	} else {
		err = k.t.Write(k.f.Out(), k.f.Style(k.o.output))
	}
	k.t.Rows = k.t.Rows[:0]
	return err
}

func (k *tableSink) close() error { return k.flush() }

func recordRow(m *message.Message) []render.Cell {
	return []render.Cell{
		render.Text(m.ID.String()), render.Tick(m.TimeTick), render.Text(m.Type.String()), optional(m.Term), render.Text(m.VChannel),
		optional(m.Collection), optional(m.Segment), optional(int64(m.Rows)), render.Bytes(m.PayloadSize), render.Text(recordNote(m)),
		render.Number(m.TimeTick), render.Text(m.RawID()), render.Text(m.LastConfirmed.String()),
		optional(int64(m.Barrier)), optional(m.Partition), optional(m.TxnID), render.Number(int64(m.Version)), render.Number(m.Ordinal),
	}
}

func optional(n int64) render.Cell {
	if n == 0 {
		return render.Text("")
	}
	return render.Number(n)
}

// recordNote names the marks a person looks for.
func recordNote(m *message.Message) string {
	var n []string
	for _, x := range []struct {
		on   bool
		word string
	}{
		{m.OpensTerm(), "opening"}, {m.Has(message.HasTxn), "txn"}, {m.Has(message.HasBroadcast), "broadcast"},
		{m.Has(message.HasReplicate), "replicated"}, {m.Has(message.HasCipher), "encrypted"},
		{m.Has(message.PChannelLevel), "pchannel-level"}, {m.Has(message.UnsafeReplicate), "unsafe-replicate"},
		{m.Has(message.PartialUpdate), "partial-update"}, {m.Has(message.NotPersisted), "not-persisted!"},
		{len(m.Defects) > 0, "defect!"},
	} {
		if x.on {
			n = append(n, x.word)
		}
	}
	return strings.Join(n, ",")
}

func inspectID(ctx context.Context, f *cli.Factory, o *options, s source.Source) error {
	bound, err := cli.ParsePlace(ctx, o.id, false, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return err
	}
	if bound.Kind != source.AtID {
		return cli.Usagef("--id %q: give an id", o.id)
	}
	r, err := s.Open(ctx, source.Range{From: bound, To: bound, Props: true, Payload: source.PayloadAll})
	if err != nil {
		return err
	}
	defer r.Close()
	bad := &cli.Damage{Factory: f}
	for {
		m, err := r.Next(ctx)
		if err == nil && m.ID == bound.ID {
			return errors.Join(showMessage(f, o, s, m), bad.Err())
		}
		if err == nil {
			continue
		}
		if more, fatal := bad.See(err); fatal != nil {
			return fatal
		} else if !more {
			break
		}
	}
	missing := fmt.Errorf("this log has no message %s", bound.ID)
	if b, err := s.Bounds(ctx); err == nil {
		missing = fmt.Errorf("%w: it holds %s … %s", missing, b.First, b.Last)
	}
	return errors.Join(missing, bad.Err())
}

func showMessage(f *cli.Factory, o *options, s source.Source, m *message.Message) error {
	record, err := recordJSON(m, o.data)
	if err != nil {
		return err
	}
	switch o.output {
	case cli.NDJSON:
		_, err := fmt.Fprintln(f.Out(), string(record))
		return err
	case cli.JSON:
		report := RecordReport{Header: f.Header("inspect", cli.DescribeWAL(s), nil), Record: record, Defects: m.Defects}
		if o.data {
			report.Rows, report.Keys, _ = carried(m)
		}
		return render.JSON(f.Out(), report)
	}
	t := messageTable(m, o.data)
	if o.output == cli.CSV {
		return t.CSV(f.Out())
	}
	return t.Write(f.Out(), f.Style(o.output))
}

// RecordReport is the JSON answer of inspect --id: the line of one record.
type RecordReport struct {
	render.Header
	Record  json.RawMessage   `json:"record"`
	Defects []message.Defect  `json:"defects,omitempty"`
	Rows    []json.RawMessage `json:"rows,omitempty"`         // of an Insert, with --data
	Keys    []any             `json:"primary_keys,omitempty"` // of a Delete, with --data
}

// carried is what a message's payload holds as a person reads it: the rows of an
// Insert, the keys of a Delete. why tells what cannot be read of it.
func carried(m *message.Message) (list []json.RawMessage, keys []any, why error) {
	if m.Has(message.HasCipher) {
		return nil, nil, errors.New("encrypted")
	}
	switch m.Type {
	case message.TypeInsert:
		list, why = rows.Told(m.Payload, m.Rows)
		return list, nil, why
	case message.TypeDelete:
		b, err := message.BodyAs[*msgpb.DeleteRequest](m)
		if err != nil {
			return nil, nil, err
		}
		ints, texts := rows.DeletedKeys(b)
		for _, key := range ints {
			keys = append(keys, key)
		}
		for _, key := range texts {
			keys = append(keys, key)
		}
	}
	return nil, keys, nil
}

func messageTable(m *message.Message, data bool) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "field"}, {Name: "value"}}}
	add := func(name string, c render.Cell) {
		if c.Raw != "" {
			t.Add(render.Text(name), c)
		}
	}
	add("id", render.Text(m.ID.String()))
	add("raw id", render.Text(m.RawID()))
	add("ordinal", render.Number(m.Ordinal))
	add("type", render.Text(fmt.Sprintf("%s (%d)", m.Type, int(m.Type))))
	add("time", render.Tick(m.TimeTick))
	for _, d := range describe(m) {
		add(d[0], render.Text(d[1]))
	}
	add("note", render.Text(recordNote(m)))
	add("payload", render.Bytes(m.PayloadSize))
	for _, p := range m.Props {
		value := p.Value
		if p.Key == message.KeyHeader && !data {
			value = m.ShownHeader(value)
		}
		add("property "+p.Key, render.Text(value))
	}
	for _, d := range m.Defects {
		add("defect", render.Text(d.Error()))
	}
	if data {
		addPayload(m, add)
	}
	return t
}

// addPayload adds what a message carries: rows or keys, the bytes where it has
// neither or they cannot be read.
func addPayload(m *message.Message, add func(string, render.Cell)) {
	list, keys, why := carried(m)
	for i, row := range list {
		add(fmt.Sprintf("row %d", i+1), render.Text(string(row)))
	}
	for _, key := range keys {
		add("primary key", render.Text(fmt.Sprint(key)))
	}
	if why != nil {
		add("rows", render.Text(why.Error()))
	}
	if len(list)+len(keys) == 0 {
		add("data", render.Text(base64.StdEncoding.EncodeToString(m.Payload)))
	}
}

// describe lists the decoded fields by name, in the order of their names.
func describe(m *message.Message) [][2]string {
	b, err := json.Marshal(m.Describe())
	if err != nil {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return nil
	}
	var out [][2]string
	for k, v := range fields {
		if k == "type" || k == "time" || k == "payload_size" {
			continue
		}
		out = append(out, [2]string{k, strings.Trim(string(v), `"`)})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}
