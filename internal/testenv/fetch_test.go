package testenv_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// bare is a machine that has the tools every Debian has and nothing else, with
// an apt-get and a Maven of the test's own.
type bare struct {
	t         *testing.T
	dir, tool string
	archive   string // where Maven keeps what it fetched
}

func newBare(t *testing.T, uid string, apt bool) *bare {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: installs packages on Debian alone")
	}
	m := &bare{t: t, dir: t.TempDir()}
	m.tool = filepath.Join(m.dir, "bin")
	m.archive = filepath.Join(m.dir, "home/.m2/repository/org/apache/pulsar/pulsar-server-distribution/4.0.8/pulsar-server-distribution-4.0.8-bin.tar.gz")
	m.file("home/.keep", nil)
	m.file("served.tar.gz", m.distribution())
	m.file("bin/.keep", nil)
	for _, name := range []string{"sh", "uname", "mkdir", "flock", "sed", "head", "mktemp", "tar", "gzip", "mv", "rm", "cp", "dirname", "sleep", "chmod", "touch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("SKIPPED: no %s here", name)
		}
		if err := os.Symlink(path, filepath.Join(m.tool, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.script("id", "echo "+uid)
	if apt {
		m.script("apt-cache", `[ "$2" != openjdk-17-jre-headless ]`) // as on a Debian that has moved on
		m.script("apt-get", `echo "apt-get $*" >>"$DIR/calls"
case "$*" in
*install*jre*) cp "$DIR/java.made" "$DIR/bin/java" ;;
*install*maven*) cp "$DIR/mvn.made" "$DIR/bin/mvn" ;;
esac`)
	}
	m.file("java.made", []byte("#!/bin/sh\necho 'openjdk version \"21.0.5\" 2024-10-15' >&2\n"))
	m.file("mvn.made", []byte(`#!/bin/sh
echo "mvn $*" >>"$DIR/calls"
sleep 0.2
mkdir -p "$(dirname "$ARCHIVE")" && cp "$DIR/served.tar.gz" "$ARCHIVE"
`))
	return m
}

func (m *bare) file(name string, text []byte) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o700); err != nil { // #nosec G306 -- it is run
		m.t.Fatal(err)
	}
}

func (m *bare) script(name, body string) { m.file("bin/"+name, []byte("#!/bin/sh\n"+body+"\n")) }

// distribution is an archive of the shape Maven serves.
func (m *bare) distribution() []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	body := []byte("#!/bin/sh\n")
	if err := w.WriteHeader(&tar.Header{Name: "apache-pulsar-4.0.8/bin/pulsar", Mode: 0o755, Size: int64(len(body))}); err != nil {
		m.t.Fatal(err)
	}
	_, _ = w.Write(body)
	_, _ = w.Close(), z.Close()
	return out.Bytes()
}

// fetch runs the script as a fresh user of the machine.
func (m *bare) fetch() (home, said string, err error) {
	script, err := filepath.Abs("../../scripts/fetch-pulsar")
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(m.tool, "sh"), script)
	cmd.Env = []string{"PATH=" + m.tool, "HOME=" + filepath.Join(m.dir, "home"), "DIR=" + m.dir, "ARCHIVE=" + m.archive}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return strings.TrimSpace(out.String()), errOut.String(), err
}

func (m *bare) calls() string {
	text, _ := os.ReadFile(filepath.Join(m.dir, "calls"))
	return string(text)
}

func (m *bare) there(home, said string, err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%v: %s", err, said)
	}
	if _, err := os.Stat(filepath.Join(home, "bin", "pulsar")); err != nil {
		m.t.Errorf("printed %q: %v", home, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(home), "unpack.*")); len(left) > 0 {
		m.t.Errorf("left behind: %v", left)
	}
}

// On a bare machine Java and Maven are installed, the distribution is fetched
// once however many ask at a time, and never again.
func TestFetchOnABareMachine(t *testing.T) {
	m := newBare(t, "0", true)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { m.there(m.fetch()) })
	}
	all.Wait()
	m.there(m.fetch())
	calls := m.calls()
	for what, n := range map[string]int{"install -y -qq --no-install-recommends openjdk-21-jre-headless": 1,
		"install -y -qq --no-install-recommends maven": 1, "mvn ": 1, "org.apache.pulsar:pulsar-server-distribution:4.0.8:tar.gz:bin": 1} {
		if strings.Count(calls, what) != n {
			t.Errorf("%q %d times, want %d:\n%s", what, strings.Count(calls, what), n, calls)
		}
	}
}

// What a killed run left half done, fetched or unpacked, is done again.
func TestFetchAfterAKilledOne(t *testing.T) {
	m := newBare(t, "0", true)
	whole := m.distribution()
	rel, err := filepath.Rel(m.dir, m.archive)
	if err != nil {
		t.Fatal(err)
	}
	m.file(rel, whole[:len(whole)/2])
	m.file("home/.cache/walctl-test/unpack.dead/apache-pulsar-4.0.8/LICENSE", nil)
	m.file("home/.cache/walctl-test/apache-pulsar-4.0.8/LICENSE", nil)
	m.there(m.fetch())
	if n := strings.Count(m.calls(), "mvn "); n != 1 {
		t.Errorf("fetched %d times, want once:\n%s", n, m.calls())
	}
}

// What can't be installed is named, and so is what is too old.
func TestFetchSaysWhatIsMissing(t *testing.T) {
	m := newBare(t, "1000", true)
	if _, said, err := m.fetch(); err == nil || !strings.Contains(said, "java is missing") || !strings.Contains(said, "WALCTL_TEST_PULSAR_URL") {
		t.Errorf("no root, no java: %v, %s", err, said)
	}
	m.script("java", `echo 'openjdk version "11.0.2"' >&2`)
	if _, said, err := m.fetch(); err == nil || !strings.Contains(said, "version 11") || !strings.Contains(said, "needs 17") {
		t.Errorf("an old java: %v, %s", err, said)
	}
	m.script("java", `echo 'openjdk version "17.0.9"' >&2`)
	if _, said, err := m.fetch(); err == nil || !strings.Contains(said, "mvn is missing: install maven") {
		t.Errorf("no maven: %v, %s", err, said)
	}
}
