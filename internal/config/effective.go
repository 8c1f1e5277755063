package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Setting is one setting in force and where it comes from. A secret's value is
// never in it.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"` // flag, a variable's name, context NAME, default, or ""
}

// secretNames are the settings given as a file or straight in a variable.
var secretNames = [...]string{"pulsar-token", "etcd-password", "etcd-write-password"}

// Effective lists every setting in force.
func Effective(flags *pflag.FlagSet, getenv func(string) string) ([]Setting, error) {
	c, err := Load(flags, getenv) // proves what is listed
	if err != nil {
		return nil, err
	}
	path, err := Path(flags, getenv)
	if err != nil {
		return nil, err
	}
	file, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	chosen := file.Contexts[c.Context]
	var out []Setting
	for _, f := range fields {
		s := Setting{Name: f.name}
		if key, ok := strings.CutSuffix(f.name, "-file"); ok && shadowed(key, flags, getenv) {
			continue // its variable stands below
		}
		fl := flags.Lookup(f.name)
		switch {
		case fl != nil && fl.Changed:
			s.Value, s.From = fl.Value.String(), "flag"
		case getenv(EnvName(f.name)) != "":
			s.Value, s.From = getenv(EnvName(f.name)), EnvName(f.name)
		case chosen[f.name] != "":
			s.Value, s.From = chosen[f.name], "context "+c.Context
		case f.fallback != "":
			s.Value, s.From = f.fallback, "default"
		}
		out = append(out, s)
	}
	for _, n := range secretNames {
		if shadowed(n, flags, getenv) {
			out = append(out, Setting{Name: n, Value: "(set)", From: EnvName(n)})
		}
	}
	return out, nil
}

// Keys lists a context's settings in the order of the flags.
func Keys(c Context) []string {
	var out []string
	for _, f := range fields {
		if _, ok := c[f.name]; ok {
			out = append(out, f.name)
		}
	}
	return slices.Clip(out)
}
