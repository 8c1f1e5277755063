// Package rows decodes the rows an Insert message carries into typed columns.
//
// The payload is a msgpb.InsertRequest. Today's writers send columns, old ones
// sent rows (wire format; docs/salvage.md#payload):
//
//	column based   fields_data: one FieldData a field
//	               ├ field_id, field_name, type
//	               ├ valid_data: one bool a row, only of nullable fields
//	               └ the values: one a row, or one a row that is not null
//
//	row based      row_data: one blob a row; the schema's fields one after the
//	               other, little endian, none of them of variable size
//	               ┌────────┬──────┬───────┬─ … ─┬──────────────┐
//	               │ int64  │ bool │ int32 │     │ dim × float  │
//	               └────────┴──────┴───────┴─ … ─┴──────────────┘
//
// Nothing in a payload is trusted: every count is held against the message's
// number of rows before a value is read, and what does not fit is an error that
// names the field. Values are referred to, not copied.
package rows
