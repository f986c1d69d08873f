package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"

	runpod "github.com/gpuburst/runpod-go"
)

// saver writes results into a folder and nowhere else.
type saver struct {
	client *runpod.Client
	dir    string
	root   *os.Root
}

func (s *saver) open() (err error) {
	if err = os.MkdirAll(s.dir, 0o755); err == nil {
		s.root, err = os.OpenRoot(s.dir)
	}
	return err
}

func (s *saver) close() { s.root.Close() }

// save writes a result to its file, by way of a temporary name beside it.
func (s *saver) save(ctx context.Context, r *Result) (err error) {
	if err := checkSaveTo(r.SaveTo); err != nil {
		return err
	}
	name := filepath.Clean(r.SaveTo)
	if err := s.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(name), "."+rand.Text()+".part")
	f, err := s.root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.root.Remove(part)
		}
	}()
	if err := errors.Join(s.write(ctx, f, r), f.Close()); err != nil {
		return err
	}
	if err := s.root.Rename(part, name); err != nil {
		return err
	}
	r.Saved = name
	return nil
}

func (s *saver) write(ctx context.Context, w io.Writer, r *Result) error {
	key := r.OutputKey
	if key == "" {
		key = r.AnswerKey
	}
	if key == "" {
		_, err := w.Write(r.Answer)
		return err
	}
	_, err := s.client.Download(ctx, key, w)
	return err
}
