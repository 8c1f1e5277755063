package render

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/diagnose"
)

func sample() *Table {
	t := &Table{Columns: []Column{{Name: "type"}, {Name: "count", Right: true}, {Name: "last"}, {Name: "last tt", Wide: true}}}
	t.Add(Text("Insert"), Count(1204331), Time(time.Date(2026, 11, 21, 3, 11, 2, 0, time.UTC)), Text("42"))
	t.Add(Text("evil\x1b[31m"), Count(7), Time(time.Time{}), Text(""))
	return t
}

func TestTableOffATerminalIsTSV(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().Write(&b, Style{}))
	require.Equal(t, "TYPE\tCOUNT\tLAST\nInsert\t1204331\t2026-11-21T03:11:02.000Z\nevil\\x1b[31m\t7\t\n", b.String())
}

func TestTableOnATerminalIsAligned(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().Write(&b, Style{Terminal: true}))
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	require.Len(t, lines, 3, b.String())
	require.Equal(t, strings.Index(lines[0], "COUNT")+len("COUNT"), strings.Index(lines[1], "1,204,331")+len("1,204,331"), b.String())
	require.NotContains(t, b.String(), "\x1b")
	require.NotContains(t, b.String(), "LAST TT")
	b.Reset()
	require.NoError(t, sample().Write(&b, Style{Terminal: true, Wide: true}))
	require.Contains(t, b.String(), "LAST TT")
}

func TestCSVHasEveryColumn(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().CSV(&b))
	require.True(t, strings.HasPrefix(b.String(), "type,count,last,last_tt\nInsert,1204331,"), b.String())
}

func TestHuman(t *testing.T) {
	require.Equal(t, "-1,204,331", Thousands(-1204331))
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1048575: "1.0 MiB", 8<<30 + 1<<27: "8.1 GiB", 1 << 62: "4.0 EiB"} {
		require.Equal(t, want, HumanBytes(n))
	}
	for d, want := range map[time.Duration]string{
		38 * time.Millisecond: "38ms", 1234 * time.Millisecond: "1.2s", 130 * time.Minute: "2h10m", 843 * time.Second: "14m3s",
		76 * time.Hour: "3d4h", -2 * time.Second: "-2.0s",
	} {
		require.Equal(t, want, HumanDuration(d))
	}
}

func TestNextIsCleaned(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Next(&b, []string{"walctl inspect dml_3", "walctl inspect dml\x07"}))
	require.Equal(t, "Next: walctl inspect dml_3\nNext: "+Clean("walctl inspect dml\x07")+"\n", b.String())
	require.NotContains(t, b.String(), "\x07")
}

func TestFindingsWorstFirst(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Findings(&b, Style{}, []diagnose.Finding{
		{Code: "retry-duplicate", Severity: diagnose.SeverityWarning, Count: 3, Meaning: "the same append twice"},
		{Code: "stale-writer", Severity: diagnose.SeverityError, Where: diagnose.Where{ID: "15/1517/0", VChannel: "v\x07"}, Count: 87,
			Evidence: []diagnose.Evidence{{Name: "rows", Value: "4310"}}},
	}))
	require.Equal(t, `ERROR     stale-writer     v\x07  15/1517/0  ×87
          rows 4310
WARN      retry-duplicate    ×3
          the same append twice
`, b.String())
}
