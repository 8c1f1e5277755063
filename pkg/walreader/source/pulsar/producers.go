package pulsar

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Producers implements source.ProducerSource.
func (s *Source) Producers(ctx context.Context) ([]string, error) {
	if !s.open {
		return nil, fmt.Errorf("producers of %s: the admin port does not tell: %w", s.Describe().Location, source.ErrUnavailable)
	}
	var stats struct {
		Publishers []struct {
			ID      int64  `json:"producerId"`
			Name    string `json:"producerName"`
			Address string `json:"address"`
		} `json:"publishers"`
		Waiting int `json:"waitingPublishers"`
	}
	if err := s.admin.get(ctx, s.admin.topicPath()+"/stats", &stats); err != nil {
		return nil, fmt.Errorf("producers of %s: %w", s.Describe().Location, err)
	}
	out := make([]string, 0, len(stats.Publishers))
	for _, p := range stats.Publishers {
		name := p.Name
		if name == "" {
			name = strconv.FormatInt(p.ID, 10)
		}
		if p.Address != "" {
			name += " (" + p.Address + ")"
		}
		out = append(out, name)
	}
	if stats.Waiting > 0 {
		out = append(out, fmt.Sprintf("%d waiting", stats.Waiting))
	}
	return out, nil
}

// LedgerIDs implements source.LayoutSource.
func (s *Source) LedgerIDs(ctx context.Context) ([]string, error) {
	if !s.open {
		return nil, errors.Join(source.ErrUnavailable, errAdminClosed)
	}
	info, err := s.admin.internalInfo(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(info.Ledgers))
	for i, l := range info.Ledgers {
		out[i] = strconv.FormatInt(l.ID, 10)
	}
	return out, nil
}
