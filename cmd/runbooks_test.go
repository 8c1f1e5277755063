package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
)

// A page of commands is run from its text: an incident of the kind it speaks of is
// prepared, the places it names are put in, and each line is typed in its order.

// place is what stands for the cluster of a page in a directory of the test.
type place struct {
	dir, catalog string
	words        map[string]string // a placeholder → what is prepared for it
	metrics      []string          // the text each node's metrics endpoint gives
	known        map[string]bool   // the lines that ran
}

// step is what a line of a page must do.
type step struct {
	line  string
	exit  int
	says  string // a part of what it prints, as a regexp
	after func(*testing.T, *place)
}

// page is a page's incident and, in the order of its text, its lines.
type page struct {
	file    string
	prepare func(*testing.T, *place)
	steps   []step
	// elsewhere are the lines that need more than a directory, each with its reason.
	elsewhere map[string]string
	done      func(*testing.T, *place)
}

const (
	needsKubernetes = "needs a Kubernetes cluster"
	onlyNames       = "names a command or a flag, and is not typed so"
)

func TestRunbooksRunAsWritten(t *testing.T) {
	pages := runbookPages()
	written, err := filepath.Glob(filepath.Join("..", "docs", "runbooks", "*.md"))
	require.NoError(t, err)
	var have []string
	for i := range pages {
		have = append(have, filepath.Join("..", "docs", "runbooks", pages[i].file))
	}
	require.ElementsMatch(t, written, have, "each page has its incident here")
	for i := range pages {
		t.Run(pages[i].file, func(t *testing.T) { pages[i].run(t, have[i]) })
	}
}

func (p *page) run(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := typedIn(string(text))
	require.NotEmpty(t, lines)
	at := &place{dir: t.TempDir(), words: map[string]string{}, known: map[string]bool{}}
	p.prepare(t, at)
	next := 0
	for _, line := range lines {
		if why := p.elsewhere[line]; why != "" {
			t.Logf("not run, %s: %s", why, line)
			at.known[line] = true
			if next < len(p.steps) && p.steps[next].line == line {
				p.steps[next].after(t, at)
				next++
			}
			continue
		}
		require.Less(t, next, len(p.steps), "no step says what is right for %q", line)
		s := &p.steps[next]
		next++
		require.Equal(t, s.line, line, "the page's line and the step that says what is right for it")
		typed := at.fill(t, line)
		code, out := shell(t, at.dir, typed)
		t.Logf("exit %d: %s", code, typed)
		require.Equal(t, s.exit, code, "%s\n%s", typed, out)
		require.Regexp(t, s.says, out, typed)
		if s.after != nil {
			s.after(t, at)
		}
	}
	require.Equal(t, len(p.steps), next, "the page no longer has the lines of %v", p.steps[min(next, len(p.steps)-1):])
	for line := range p.elsewhere {
		require.Contains(t, at.known, line, "the page no longer has this line")
	}
	if p.done != nil {
		p.done(t, at)
	}
}

// codeLine is a line of an indented code block, of the text or of a list in it.
var codeLine = regexp.MustCompile(`^ {4,}(?:\$ )?(\S.*)$`)

// inlineCommand is a command in the middle of a sentence, perhaps broken in two.
var inlineCommand = regexp.MustCompile("`((?:walctl|kubectl|pulsar-admin) [^`]*)`")

// typedIn are the command lines of a page, in the order of its text. A line of code
// that is no command is one all the same: what it is has to be said.
func typedIn(text string) (lines []string) {
	var prose []string
	inline := func() {
		for _, m := range inlineCommand.FindAllStringSubmatch(strings.Join(prose, "\n"), -1) {
			lines = append(lines, strings.Join(strings.Fields(m[1]), " "))
		}
		prose = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := codeLine.FindStringSubmatch(line); m != nil {
			inline()
			lines = append(lines, m[1])
			continue
		}
		prose = append(prose, line)
	}
	inline()
	return lines
}

// fill puts the prepared places in. A WAL of the context, or none, comes with the
// context's catalog; here that is a file.
func (p *place) fill(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	f, _, _ := testFactory(nil)
	cmd, _, err := newRootCmd(f).Find(words[1:])
	require.NoError(t, err, line)
	ofContext := cmd.Name() == "undo" || strings.Contains(line, "dml_")
	if n := len(strings.Fields(cmd.CommandPath())); len(words) == n || strings.HasPrefix(words[n], "-") {
		words = slices.Insert(words, n, "dml_3") // every pchannel of the context: it has this one
		ofContext = true
	}
	ofContext = ofContext && cmd.Flags().Lookup("catalog") != nil
	line = strings.Join(words, " ")
	for _, word := range slices.Backward(slices.SortedFunc(maps.Keys(p.words), func(a, b string) int { return len(a) - len(b) })) {
		line = strings.ReplaceAll(line, word, p.words[word])
	}
	if ofContext {
		line += " --catalog " + p.catalog
	}
	return line
}

// demo prepares one of the incidents that walctl itself builds, in ./log.
func withDemo(name string) func(*testing.T, *place) {
	return func(t *testing.T, p *place) {
		code, out := shell(t, p.dir, "walctl demo "+name+" --dir ./log")
		require.Equal(t, 0, code, out)
		p.catalog = "file:log/catalog.db"
		p.words["by-dev-rootcoord-dml_3"], p.words["dml_3"] = "by-dev-rootcoord-dml_0", "./log"
	}
}

// second adds the sound log of another pchannel, and its catalog to the first one's.
func (p *place) second(t *testing.T, word, pchannel string) {
	t.Helper()
	x := newIncidentLog(must{t}, walgen.Config{Seed: 5, PChannel: pchannel, Messages: 2000, LedgerEntries: 500, Collections: 2, ShardIndex: 1})
	x.write(must{t}, filepath.Join(p.dir, word+".jsonl"))
	code, out := shell(t, p.dir, "walctl catalog export --catalog "+p.catalog+" --to kvjson:both.json")
	require.Equal(t, 0, code, out)
	text, err := os.ReadFile(filepath.Join(p.dir, "both.json"))
	require.NoError(t, err)
	var kv map[string][]byte
	require.NoError(t, json.Unmarshal(text, &kv))
	for k, v := range x.end {
		if strings.Contains(k, pchannel) {
			kv[k] = v
		}
	}
	x.writeKV(must{t}, filepath.Join(p.dir, "both.json"), kv)
	p.catalog, p.words[word] = "kvjson:both.json", word+".jsonl"
}

// serve gives each node's metrics at an address of its own.
func (p *place) serve(t *testing.T, names ...string) {
	t.Helper()
	for i, name := range names {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, p.metrics[i]) }))
		t.Cleanup(s.Close)
		p.words[name] = strings.TrimPrefix(s.URL, "http://")
	}
}

// node is what a streaming node's metrics say of the pchannel it has open.
func node(id, term int, state string) string {
	labels := fmt.Sprintf(`channel_name="by-dev-rootcoord-dml_0",node_id="%d",term="%d"`, id, term)
	return fmt.Sprintf("milvus_wal_info{%s} 1\nmilvus_wal_recovery_info{%s,state=%q} 1\n", labels, labels, state)
}

// must ends a test at an error.
type must struct{ *testing.T }

func (m must) Check(err error) { m.Helper(); require.NoError(m.T, err) }

// keys is every key of the place's catalog but walctl's own.
func (p *place) keys(t *testing.T) map[string][]byte {
	t.Helper()
	return catalogKeys(t, p.dir, p.catalog)
}

// What the README shows of a session is what is printed: each line typed in its order,
// with the lines below it found in the answer, and the exit code where one is named.
func TestReadmeTourRunsAsWritten(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	require.NoError(t, err)
	dir := t.TempDir()
	code, out := shell(t, dir, "walctl demo stale-writer --dir ./demo-stale")
	require.Equal(t, 0, code, out)
	typed, shown, out := 0, 0, ""
	exit := regexp.MustCompile(`\s+# exit (\d+)$`)
	journal := regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{8}`)
	spaces := regexp.MustCompile(` +`)
	plain := func(s string) string {
		return strings.TrimSpace(spaces.ReplaceAllString(journal.ReplaceAllString(s, "JOURNAL"), " "))
	}
	for line := range strings.Lines(string(text)) {
		m := codeLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			out = ""
			continue
		}
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok {
			code, out = shell(t, dir, command)
			out = plain(out)
			require.Contains(t, []int{0, 3}, code, "%s\n%s", command, out)
			typed++
			continue
		}
		if out == "" {
			continue // no session: `make try`
		}
		want := m[1]
		if e := exit.FindStringSubmatch(want); e != nil {
			require.Equal(t, e[1], fmt.Sprint(code), "%s\n%s", want, out)
			want = strings.TrimSuffix(want, e[0])
		}
		for part := range strings.SplitSeq(want, "…") {
			at := strings.Index(out, plain(part))
			require.GreaterOrEqual(t, at, 0, "the README shows %q; left of the answer:\n%s", want, out)
			out = out[at:]
		}
		shown++
	}
	require.Equal(t, 6, typed)
	require.Greater(t, shown, 8)
}
