package cli

import (
	"context"
	"fmt"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// cluster is the live side of the door, over a context's settings.
type cluster struct {
	c *config.Config
	w WALFlags
}

func newCluster(c *config.Config, w WALFlags) *cluster { return &cluster{c, w} }

// PChannels implements walreader.Cluster.
func (k *cluster) PChannels(context.Context) ([]string, error) {
	return nil, fmt.Errorf("list pchannels: %w: live logs are not read in this version", source.ErrUnavailable)
}

// OpenPChannel implements walreader.Cluster.
func (k *cluster) OpenPChannel(context.Context, string) (source.Source, error) {
	return nil, Usagef("live logs are not read in this version")
}

// OpenURL implements walreader.Cluster.
func (k *cluster) OpenURL(context.Context, string) (source.Source, error) {
	return nil, Usagef("live logs are not read in this version")
}
