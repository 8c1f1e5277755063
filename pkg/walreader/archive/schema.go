package archive

import (
	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
)

// The index columns, in file order. The numbers index indexColumns only; names
// are file format.
const (
	colOrdinal = iota
	colA
	colB
	colBatch
	colPartitionIndex
	colBatchSize
	colTimeTick
	colTime
	colBarrier
	colTerm
	colType
	colVersion
	colVChannel
	colCollection
	colPartition
	colSegment
	colRows
	colBinarySize
	colLCA
	colLCB
	colLCBatch
	colLCPartitionIndex
	colLCBatchSize
	colTxnID
	colKeepalive
	colBroadcastID
	colFlags
	colBehind
	colPayloadSize
	colPublishTime
	colChecksum
	colCanonical
	colHeader
	colProperties
	colExtra
	indexWidth
)

// The payload columns.
const (
	payOrdinal = iota
	payData
	payDDL
)

// indexColumns is read only.
var indexColumns = [indexWidth]columnfile.Column{
	colOrdinal:          {Name: "ordinal", Layout: columnfile.Delta},
	colA:                {Name: "id_a", Layout: columnfile.Dictionary},
	colB:                {Name: "id_b", Layout: columnfile.Delta},
	colBatch:            {Name: "id_batch", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colPartitionIndex:   {Name: "id_partition", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colBatchSize:        {Name: "id_batch_size", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colTimeTick:         {Name: "time_tick", Layout: columnfile.Delta},
	colTime:             {Name: "time", Logical: columnfile.Millis, Layout: columnfile.Delta},
	colBarrier:          {Name: "barrier", Layout: columnfile.Repeats},
	colTerm:             {Name: "term", Layout: columnfile.Dictionary},
	colType:             {Name: "type", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colVersion:          {Name: "version", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colVChannel:         {Name: "vchannel", Kind: columnfile.Bytes, Logical: columnfile.Text, Layout: columnfile.Dictionary},
	colCollection:       {Name: "collection", Layout: columnfile.Dictionary},
	colPartition:        {Name: "partition", Layout: columnfile.Dictionary},
	colSegment:          {Name: "segment", Layout: columnfile.Repeats},
	colRows:             {Name: "rows", Layout: columnfile.Dictionary},
	colBinarySize:       {Name: "binary_size", Layout: columnfile.Dictionary},
	colLCA:              {Name: "last_confirmed_a", Layout: columnfile.Dictionary},
	colLCB:              {Name: "last_confirmed_b", Layout: columnfile.Delta},
	colLCBatch:          {Name: "last_confirmed_batch", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colLCPartitionIndex: {Name: "last_confirmed_partition", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colLCBatchSize:      {Name: "last_confirmed_batch_size", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colTxnID:            {Name: "txn_id", Layout: columnfile.Repeats},
	colKeepalive:        {Name: "keepalive", Layout: columnfile.Dictionary},
	colBroadcastID:      {Name: "broadcast_id", Layout: columnfile.Repeats},
	colFlags:            {Name: "flags", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colBehind:           {Name: "behind_timetick", Kind: columnfile.Bool},
	colPayloadSize:      {Name: "payload_size", Layout: columnfile.Dictionary},
	colPublishTime:      {Name: "publish_time", Logical: columnfile.Millis, Layout: columnfile.Delta},
	colChecksum:         {Name: "checksum", Layout: columnfile.Raw},
	colCanonical:        {Name: "canonical", Kind: columnfile.Int32, Layout: columnfile.Dictionary},
	colHeader:           {Name: "header", Kind: columnfile.Bytes},
	colProperties:       {Name: "properties", Kind: columnfile.Bytes, Logical: columnfile.Text},
	colExtra:            {Name: "extra", Kind: columnfile.Bytes},
}

// payloadColumns is read only.
var payloadColumns = [...]columnfile.Column{
	payOrdinal: {Name: "ordinal", Layout: columnfile.Delta},
	payData:    {Name: "payload", Kind: columnfile.Bytes},
	payDDL:     {Name: "payload_ddl", Kind: columnfile.Bytes},
}
