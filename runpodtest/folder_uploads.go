package runpodtest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/rclone/gofakes3"
)

// upload is a multipart upload under way; its parts are files.
type upload struct {
	meta  map[string]string
	parts map[int]part
}

// part is one received part.
type part struct {
	file string
	etag string // its MD5, unquoted
}

// uploads is the multipart uploads that are under way. It is safe for
// concurrent use.
type uploads struct {
	folder *folder
	mu     sync.Mutex
	byID   map[gofakes3.UploadID]*upload
}

func newUploads(f *folder) *uploads {
	return &uploads{folder: f, byID: map[gofakes3.UploadID]*upload{}}
}

// CreateMultipartUpload implements gofakes3.MultipartBackend.
func (m *uploads) CreateMultipartUpload(_ context.Context, _, key string, meta map[string]string) (gofakes3.UploadID, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	if isFolder(key) {
		return "", gofakes3.ErrorInvalidArgument("key", key, "a key that ends in a slash is a folder, which holds no data")
	}
	id := gofakes3.UploadID(m.folder.unique())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[id] = &upload{meta: meta, parts: map[int]part{}}
	return id, nil
}

// UploadPart implements gofakes3.MultipartBackend.
func (m *uploads) UploadPart(_ context.Context, _, _ string, id gofakes3.UploadID, n int, size int64, body io.Reader) (string, error) {
	tmp, sum, err := m.folder.receive(body, size)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.byID[id]
	if u == nil { // ended while the part came in
		m.folder.root.Remove(tmp)
		return "", gofakes3.ErrNoSuchUpload
	}
	if old, ok := u.parts[n]; ok {
		m.folder.root.Remove(old.file)
	}
	u.parts[n] = part{tmp, sum}
	return `"` + sum + `"`, nil
}

// CompleteMultipartUpload implements gofakes3.MultipartBackend. The ETag is the
// MD5 of the parts' MD5s and their number (reported by users).
func (m *uploads) CompleteMultipartUpload(_ context.Context, _, key string, id gofakes3.UploadID, want *gofakes3.CompleteMultipartUploadRequest) (gofakes3.VersionID, string, error) {
	u, parts, err := m.claim(id, want)
	if err != nil {
		return "", "", err
	}
	tmp, etag, err := m.join(parts)
	if err == nil {
		err = m.folder.install(tmp, key, object{etag: etag, meta: u.meta})
	}
	if err != nil {
		m.mu.Lock()
		m.byID[id] = u // the client may try again
		m.mu.Unlock()
		return "", "", err
	}
	m.discard(u)
	return "", `"` + etag + `"`, nil
}

// claim takes an upload out of the table, so that it is completed once, and
// returns the parts that are wanted of it.
func (m *uploads) claim(id gofakes3.UploadID, want *gofakes3.CompleteMultipartUploadRequest) (*upload, []part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.byID[id]
	if u == nil {
		return nil, nil, gofakes3.ErrNoSuchUpload
	}
	parts, err := u.pick(want.Parts)
	if err != nil {
		return nil, nil, err
	}
	delete(m.byID, id)
	return u, parts, nil
}

// pick returns the named parts, which must be there and in order.
func (u *upload) pick(want []gofakes3.CompletedPart) ([]part, error) {
	if len(want) == 0 {
		return nil, gofakes3.ErrorMessage(gofakes3.ErrMalformedXML, "no part is named")
	}
	var parts []part
	last := 0
	for _, w := range want {
		p, ok := u.parts[w.PartNumber]
		switch {
		case w.PartNumber <= last:
			return nil, gofakes3.ErrInvalidPartOrder
		case !ok || strings.Trim(w.ETag, `"`) != p.etag:
			return nil, gofakes3.ErrorMessagef(gofakes3.ErrInvalidPart, "part %d was not received with this ETag", w.PartNumber)
		}
		last = w.PartNumber
		parts = append(parts, p)
	}
	return parts, nil
}

// join writes the parts into one temporary file.
func (m *uploads) join(parts []part) (tmp, etag string, err error) {
	tmp = path.Join(uploadsDir, "whole-"+m.folder.unique())
	out, err := m.folder.root.Create(tmp)
	if err != nil {
		return "", "", err
	}
	sums := md5.New()
	for _, p := range parts {
		sum, _ := hex.DecodeString(p.etag)
		sums.Write(sum)
		if err = m.appendFile(out, p.file); err != nil {
			break
		}
	}
	if err = errors.Join(err, out.Close()); err != nil {
		m.folder.root.Remove(tmp)
		return "", "", err
	}
	return tmp, fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts)), nil
}

func (m *uploads) appendFile(out io.Writer, name string) error {
	in, err := m.folder.root.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}

// AbortMultipartUpload implements gofakes3.MultipartBackend.
func (m *uploads) AbortMultipartUpload(_ context.Context, _, _ string, id gofakes3.UploadID) error {
	m.mu.Lock()
	u := m.byID[id]
	delete(m.byID, id)
	m.mu.Unlock()
	if u != nil {
		m.discard(u)
	}
	return nil
}

// discard removes an upload's parts.
func (m *uploads) discard(u *upload) {
	for _, p := range u.parts {
		m.folder.root.Remove(p.file)
	}
}
