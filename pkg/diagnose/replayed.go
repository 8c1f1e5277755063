package diagnose

import (
	"slices"
	"strconv"

	"github.com/walctl/walctl/pkg/recovery"
)

// ReplayFindings tells what a replay met, one finding for each code. line is the Milvus
// asked about; 0: what stops every line is what stops.
func ReplayFindings(r *recovery.Result, line recovery.Line, pchannel string) []Finding {
	var out []Finding
	at := map[string]int{}
	list := slices.Concat(r.Issues().List(), r.State.Orphans())
	for i := range list {
		issue := &list[i]
		group, stops := groupOf(issue), issue.StopsNode(line)
		k, seen := at[group]
		if !seen {
			k = len(out)
			at[group] = k
			out = append(out, FoundIssue(issue, pchannel, stops))
		}
		out[k].Count++
		out[k].Severity = max(out[k].Severity, issue.Severity(stops))
	}
	for _, c := range r.Issues().Counts() {
		k, seen := at[string(c.Code)]
		if !seen {
			continue
		}
		out[k].Count = max(out[k].Count, c.Messages)
		if c.Rows > 0 {
			out[k].Evidence = append(out[k].Evidence, Evidence{Name: "rows", Value: strconv.FormatUint(c.Rows, 10)})
		}
	}
	for _, why := range r.Unchecked {
		out = append(out, NotChecked(pchannel, why))
	}
	return out
}

// groupOf is what a finding gathers: the issues of one code, but each key that
// stands wrong in the catalog for itself.
func groupOf(i *recovery.Issue) string {
	if i.Code == recovery.CodePositionGone || i.Code == recovery.CodeChannelDropped {
		return string(i.Code) + " " + i.Key
	}
	return string(i.Code)
}
