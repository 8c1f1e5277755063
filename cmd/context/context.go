// Package contextcmd is walctl context: the clusters that walctl knows by name.
package contextcmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/internal/render"
)

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Name the clusters walctl talks to",
		Long: `A context is the connection settings of one cluster under a name, kept in
walctl/config.yaml of the user's config directory, readable by its owner alone.
Every setting is also a flag and a variable: --pulsar-admin, WALCTL_PULSAR_ADMIN.
Flags go before variables, variables before the context. Secrets lie in files or
variables, never in the context itself.`,
		Example: `walctl context add prod --pulsar pulsar://pulsar:6650 --etcd etcd:2379 --etcd-root by-dev/meta
walctl context use prod
walctl --context prod inspect dml_3`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newContextAddCmd(f), newContextUseCmd(f), newContextListCmd(f), newContextShowCmd(f),
		newContextRemoveCmd(f), newContextImportCmd(f), newContextDiscoverCmd(f), newContextTestCmd(f))
	return cli.Finish(f, cmd)
}

// editContexts reads the context file, lets edit change it, and saves it.
func editContexts(f *cli.Factory, cmd *cobra.Command, edit func(*config.File) error) error {
	path, err := config.Path(cmd.Flags(), f.Getenv)
	if err != nil {
		return err
	}
	if path == "" {
		return config.ErrNoHome
	}
	file, err := config.ReadFile(path)
	if err != nil {
		return err
	}
	if err := edit(file); err != nil {
		return err
	}
	err = file.Write(path)
	if errors.Is(err, config.ErrSecret) {
		return &cli.UsageError{Err: err}
	}
	return err
}

func newContextAddCmd(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a context, or change its settings",
		Long: `Add a context from the connection flags given. One that exists keeps what no
flag names; a setting given as "" is taken out. The first context added is used.`,
		Example: `walctl context add prod --pulsar pulsar+ssl://pulsar:6651 --pulsar-token-file ~/.pulsar.token
walctl context add prod --etcd etcd-0:2379,etcd-1:2379`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings := config.FromFlags(cmd.Flags())
			return editContexts(f, cmd, func(file *config.File) error {
				if _, known := file.Contexts[args[0]]; !known && len(settings) == 0 {
					return cli.Usagef("context add %s: give at least one setting, such as --pulsar or --etcd", args[0])
				}
				put(file, args[0], settings)
				return nil
			})
		},
	}
	return cli.Finish(f, cmd)
}

func put(file *config.File, name string, settings config.Context) {
	c := file.Contexts[name]
	if c == nil {
		c = config.Context{}
		file.Contexts[name] = c
	}
	for k, v := range settings {
		if v == "" {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	if file.Current == "" {
		file.Current = name
	}
}

func newContextUseCmd(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "use NAME",
		Short:   "Make a context the current one",
		Example: "walctl context use prod",
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return editContexts(f, cmd, func(file *config.File) error {
				if _, ok := file.Contexts[args[0]]; !ok {
					return cli.Usagef("no context %q; `walctl context list` shows those there are", args[0])
				}
				file.Current = args[0]
				return nil
			})
		},
	}
	return cli.Finish(f, cmd)
}

func newContextRemoveCmd(f *cli.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Forget a context",
		Example: "walctl context remove staging",
		Args:    cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return editContexts(f, cmd, func(file *config.File) error {
				if _, ok := file.Contexts[args[0]]; !ok {
					return cli.Usagef("no context %q; `walctl context list` shows those there are", args[0])
				}
				delete(file.Contexts, args[0])
				if file.Current == args[0] {
					file.Current = ""
				}
				return nil
			})
		},
	}
	return cli.Finish(f, cmd)
}

type contextEntry struct {
	Name     string         `json:"name"`
	Current  bool           `json:"current"`
	Settings config.Context `json:"settings"`
}

type contextReport struct {
	Schema   string         `json:"schema"`
	Command  string         `json:"command"`
	Contexts []contextEntry `json:"contexts"`
}

func newContextListCmd(f *cli.Factory) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the contexts",
		Example: "walctl context list",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := contextReport{Schema: render.Schema, Command: "context list", Contexts: []contextEntry{}}
			path, err := config.Path(cmd.Flags(), f.Getenv)
			if err != nil {
				return err
			}
			file, err := config.ReadFile(path)
			if err != nil {
				return err
			}
			t := render.Table{Columns: []render.Column{{Name: "current"}, {Name: "name"}, {Name: "pulsar"}, {Name: "etcd"}, {Name: "root"}}}
			for _, n := range file.Names() {
				c := file.Contexts[n]
				mark := ""
				if n == file.Current {
					mark = "*"
				}
				r.Contexts = append(r.Contexts, contextEntry{n, n == file.Current, c})
				t.Add(render.Text(mark), render.Text(n), render.Text(c["pulsar"]), render.Text(c["etcd"]), render.Text(c["etcd-root"]))
			}
			if output == cli.JSON {
				return render.JSON(f.Out(), r)
			}
			if len(r.Contexts) == 0 && path == "" {
				f.Notef("no contexts: neither HOME nor XDG_CONFIG_HOME is set, so there is no file of them")
				return nil
			}
			if len(r.Contexts) == 0 {
				f.Notef("no contexts in %s; `walctl context add NAME` makes one", path)
				return nil
			}
			return t.Write(f.Out(), f.Style(output))
		},
	}
	cli.AddOutput(cmd, &output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

func newContextShowCmd(f *cli.Factory) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show the settings in force, and where each comes from",
		Example: "walctl context show\nWALCTL_ETCD=localhost:2379 walctl context show",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Effective(cmd.Flags(), f.Getenv)
			if err != nil {
				return &cli.UsageError{Err: err}
			}
			if output == cli.JSON {
				return render.JSON(f.Out(), struct {
					Schema   string           `json:"schema"`
					Command  string           `json:"command"`
					Settings []config.Setting `json:"settings"`
				}{render.Schema, "context show", settings})
			}
			t := render.Table{Columns: []render.Column{{Name: "setting"}, {Name: "value"}, {Name: "from"}}}
			for _, s := range settings {
				if s.Value != "" || s.From != "" {
					t.Add(render.Text(s.Name), render.Text(s.Value), render.Text(s.From))
				}
			}
			return t.Write(f.Out(), f.Style(output))
		},
	}
	cli.AddOutput(cmd, &output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

func newContextImportCmd(f *cli.Factory) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a context from a milvus.yaml, or from what kubectl printed",
		Long: `Read connection settings from a milvus.yaml, or from what
  kubectl get configmap,service,secret -o json
printed (FILE may be - for stdin). Secrets found are named, never copied: give
them as files or variables.`,
		Example: `walctl context import /milvus/configs/milvus.yaml --name prod
kubectl get cm,svc,secret -n milvus -o json | walctl context import - --name prod`,
		Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := config.Import(args[0], f.IO.In)
			if err != nil {
				return err
			}
			if err := editContexts(f, cmd, func(file *config.File) error {
				put(file, name, found.Settings)
				return nil
			}); err != nil {
				return err
			}
			for _, n := range found.Notes {
				f.Notef("note: %s", n)
			}
			t := render.Table{Columns: []render.Column{{Name: "setting"}, {Name: "value"}}}
			for _, k := range config.Keys(found.Settings) {
				t.Add(render.Text(k), render.Text(found.Settings[k]))
			}
			return t.Write(f.Out(), f.Style(cli.Table))
		},
	}
	cmd.Flags().StringVar(&name, "name", "imported", "`NAME` of the context")
	return cli.Finish(f, cmd)
}

func newContextDiscoverCmd(f *cli.Factory) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "List the roots in an etcd that hold Milvus metadata",
		Long: `Look through an etcd for Milvus metadata: each root with its pchannels and
live sessions. Nothing is written.`,
		Example: "walctl context discover --etcd localhost:2379",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDiscover(cmd.Context(), f, output)
		},
	}
	cli.AddOutput(cmd, &output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

var errNoEtcd = fmt.Errorf("no etcd is configured; give --etcd HOST:PORT")
