package walreader

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// maxKept is how much of standard input is kept for another pass, in bytes.
const maxKept = 4 << 30

func openStdin(o Options) (source.Source, error) {
	if o.Stdin == nil {
		return nil, &SpecError{Spec: "-", Reason: "there is no standard input here"}
	}
	if o.Kept != nil {
		return jsonl.FromKept("stdin", o.Stdin, o.Kept, maxKept).Named(o.PChannel), nil
	}
	return jsonl.FromReader("stdin", o.Stdin).Named(o.PChannel), nil
}

// openJSONL opens a record file, or the one of a directory that is meant.
func openJSONL(spec, place string, o Options) (source.Source, error) {
	files, err := recordFiles(place)
	if err != nil { // a file
		return jsonl.Open(place).Named(o.PChannel), nil //nolint:nilerr // not a directory
	}
	switch {
	case o.Log != "" && slices.Contains(files, o.Log):
		return jsonl.Open(filepath.Join(place, o.Log)).Named(o.PChannel), nil
	case o.Log != "":
		return nil, &SpecError{Spec: spec, Reason: "holds no log " + o.Log + "; --log takes one of", Choices: files}
	case len(files) == 1:
		return jsonl.Open(filepath.Join(place, files[0])).Named(o.PChannel), nil
	case len(files) == 0:
		return nil, &SpecError{Spec: spec, Reason: "holds no record files"}
	}
	return nil, &SpecError{Spec: spec, Reason: "holds several logs; choose one with --log:", Choices: files, Several: true}
}

// openArchive opens the one log of an archive that is meant.
func openArchive(ctx context.Context, spec, dir string, o Options) (source.Source, error) {
	name := ""
	if o.Log != "" {
		logs, err := archive.List(dir)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(logs))
		for i := range logs {
			names[i] = logs[i].PChannel
		}
		if name, err = MatchName(o.Log, names); err != nil {
			return nil, &SpecError{Spec: spec, Reason: "holds no log " + o.Log + "; --log takes one of", Choices: names}
		}
	}
	s, err := archive.Open(ctx, dir, archive.Options{PChannel: name})
	var several *archive.SeveralError
	if errors.As(err, &several) {
		return nil, &SpecError{Spec: spec, Reason: "holds several logs; choose one with --log:", Choices: several.Logs, Several: true}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func isArchive(dir string) bool { return archive.Detect(dir) }

// called refuses a name for a log that has another one.
func called(spec string, s source.Source, o Options) (source.Source, error) {
	if o.PChannel == "" {
		return s, nil
	}
	own := s.Describe().PChannel
	if own == o.PChannel {
		return s, nil
	}
	if _, err := MatchName(o.PChannel, []string{own}); err == nil {
		return s, nil
	}
	return nil, errors.Join(&SpecError{Spec: spec, Reason: "is the log of " + own + ", not of " + o.PChannel + " (--pchannel)"}, s.Close())
}
