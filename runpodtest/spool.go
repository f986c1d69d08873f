package runpodtest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
)

// inMemory is the largest request body kept in memory; a larger one goes to a
// file until its worker reads it.
const inMemory = 1 << 20

var errTooLarge = errors.New("body over the limit")

// spooled is a request's body, wholly received.
type spooled struct {
	io.Reader
	file *os.File
}

// Close frees the body.
func (s *spooled) Close() error {
	if s.file == nil {
		return nil
	}
	s.file.Close()
	return os.Remove(s.file.Name())
}

// spool receives a body of at most limit bytes. An upgrade request's connection
// belongs to the worker: it is left alone.
func spool(r *http.Request, limit int64) (*spooled, error) {
	switch {
	case r.ContentLength > limit:
		return nil, errTooLarge
	case r.ContentLength == 0, strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade"):
		return &spooled{Reader: http.NoBody}, nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, min(inMemory, limit)+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(head)) > limit:
		return nil, errTooLarge
	case len(head) <= inMemory:
		return &spooled{Reader: bytes.NewReader(head)}, nil
	}
	return spoolToFile(head, r.Body, limit)
}

func spoolToFile(head []byte, rest io.Reader, limit int64) (*spooled, error) {
	f, err := os.CreateTemp("", "runpod-body-")
	if err != nil {
		return nil, err
	}
	s := &spooled{Reader: f, file: f}
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), io.LimitReader(rest, limit+1-int64(len(head)))))
	if err == nil && n > limit {
		err = errTooLarge
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
