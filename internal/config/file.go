package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/walctl/walctl/internal/outfile"
	"github.com/walctl/walctl/internal/safefile"
)

// File is the context file: which clusters there are and which is in use.
type File struct {
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts"`
}

// Context is one cluster's settings by flag name. It holds no secret, only
// where secrets lie.
type Context map[string]string

// ErrSecret means a password where it would be kept or seen.
var ErrSecret = errors.New("it carries a user or password; give secrets in files or WALCTL_* variables")

// maxFile caps what is read as configuration, bytes.
const maxFile = 64 << 20

// Path returns where the context file lies, "" where neither a name nor a home
// directory says.
func Path(flags *pflag.FlagSet, getenv func(string) string) (string, error) {
	if p := flagOrEnv(flags, getenv, "config"); p != "" {
		return p, nil
	}
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", nil //nolint:nilerr // without a home there is no file to read
		}
	}
	return filepath.Join(dir, "walctl", "config.yaml"), nil
}

// ErrNoHome says that there is no place for a context file.
var ErrNoHome = errors.New("there is no place for the context file: neither HOME nor XDG_CONFIG_HOME is set; set one of them, or name a file with --config or WALCTL_CONFIG")

// ReadFile reads a context file; a missing one is empty.
func ReadFile(path string) (*File, error) {
	f := &File{Contexts: map[string]Context{}}
	if path == "" || path == os.DevNull {
		return f, nil
	}
	b, err := readCapped(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the context file: %w", err)
	}
	if err := yaml.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("read the context file %s: %w; mend or move it", path, quiet(err))
	}
	if f.Contexts == nil {
		f.Contexts = map[string]Context{}
	}
	for name, c := range f.Contexts {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("context %q in %s: %w", name, path, err)
		}
	}
	return f, nil
}

func readCapped(path string) ([]byte, error) {
	b, err := safefile.Read(path, maxFile)
	if errors.Is(err, safefile.ErrTooLarge) {
		err = fmt.Errorf("longer than %d MiB, not a configuration", maxFile>>20)
	}
	return b, err
}

// quoted is what a YAML error repeats of the text it could not read, which may
// be a password.
var quoted = regexp.MustCompile("`[^`]*`")

// quiet is a parse error without the text it is about.
func quiet(err error) error { return errors.New(quoted.ReplaceAllString(err.Error(), "a value")) }

// check refuses a key nobody reads: a typed password would otherwise lie there.
func (c Context) check() error {
	for k := range c {
		if !slices.ContainsFunc(fields[:], func(f field) bool { return f.name == k }) {
			return fmt.Errorf("unknown setting %q", k)
		}
	}
	return nil
}

// Write saves the file for its owner alone, whole or not at all.
func (f *File) Write(path string) error {
	if path == "" {
		return ErrNoHome
	}
	for name, c := range f.Contexts {
		if err := c.check(); err != nil {
			return fmt.Errorf("context %q: %w", name, err)
		}
		for k, v := range c {
			if hasUserInfo(v) && !strings.HasSuffix(k, "-file") {
				return fmt.Errorf("context %q: %s: %w", name, k, ErrSecret)
			}
		}
	}
	b, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("write the context file: %w", err)
	}
	if outfile.SinkOf(path) != outfile.ToFile {
		return &outfile.TakenError{What: "context file", Path: path, Stands: "nothing is kept there", Next: "name a file with --config or WALCTL_CONFIG, or leave both out for the one below the home directory"}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write the context file: %w", err)
	}
	rule := outfile.Rule{What: "context file", Own: isContextFile}
	return rule.Write(path, b)
}

// isContextFile tells a context file, of any walctl, from another that lies there.
func isContextFile(head []byte) bool {
	f := &File{}
	return contextsLine.Match(head) && (len(head) > 60<<10 || yaml.Unmarshal(head, f) == nil)
}

var contextsLine = regexp.MustCompile(`(?m)^contexts:`)

// FromFlags collects the settings given as flags.
func FromFlags(flags *pflag.FlagSet) Context {
	c := Context{}
	for _, f := range fields {
		if fl := flags.Lookup(f.name); fl != nil && fl.Changed {
			c[f.name] = fl.Value.String()
		}
	}
	return c
}

// Names lists the contexts, sorted.
func (f *File) Names() []string {
	names := make([]string, 0, len(f.Contexts))
	for n := range f.Contexts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
