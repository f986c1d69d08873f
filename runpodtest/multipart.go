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

// CreateMultipartUpload implements gofakes3.MultipartBackend.
func (f *folder) CreateMultipartUpload(_ context.Context, _, key string, meta map[string]string) (gofakes3.UploadID, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	id := gofakes3.UploadID(f.unique())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uploads[id] = &upload{meta: meta, parts: map[int]part{}}
	return id, nil
}

// UploadPart implements gofakes3.MultipartBackend.
func (f *folder) UploadPart(_ context.Context, _, _ string, id gofakes3.UploadID, n int, size int64, body io.Reader) (string, error) {
	tmp, sum, err := f.receive(body, size)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.uploads[id]
	if u == nil { // ended while the part came in
		f.root.Remove(tmp)
		return "", gofakes3.ErrNoSuchUpload
	}
	if old, ok := u.parts[n]; ok {
		f.root.Remove(old.file)
	}
	u.parts[n] = part{tmp, sum}
	return `"` + sum + `"`, nil
}

// CompleteMultipartUpload implements gofakes3.MultipartBackend. The ETag is the
// MD5 of the parts' MD5s and their number (reported by users).
func (f *folder) CompleteMultipartUpload(_ context.Context, _, key string, id gofakes3.UploadID, want *gofakes3.CompleteMultipartUploadRequest) (gofakes3.VersionID, string, error) {
	u, parts, err := f.claim(id, want)
	if err != nil {
		return "", "", err
	}
	tmp, etag, err := f.join(parts)
	if err == nil {
		err = f.install(tmp, key, object{etag: etag, meta: u.meta})
	}
	if err != nil {
		f.mu.Lock()
		f.uploads[id] = u // the client may try again
		f.mu.Unlock()
		return "", "", err
	}
	f.discard(u)
	return "", `"` + etag + `"`, nil
}

// claim takes an upload out of the table, so that it is completed once, and
// returns the parts that are wanted of it.
func (f *folder) claim(id gofakes3.UploadID, want *gofakes3.CompleteMultipartUploadRequest) (*upload, []part, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.uploads[id]
	if u == nil {
		return nil, nil, gofakes3.ErrNoSuchUpload
	}
	parts, err := u.pick(want.Parts)
	if err != nil {
		return nil, nil, err
	}
	delete(f.uploads, id)
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
func (f *folder) join(parts []part) (tmp, etag string, err error) {
	tmp = path.Join(uploadsDir, "whole-"+f.unique())
	out, err := f.root.Create(tmp)
	if err != nil {
		return "", "", err
	}
	sums := md5.New()
	for _, p := range parts {
		sum, _ := hex.DecodeString(p.etag)
		sums.Write(sum)
		if err = f.appendFile(out, p.file); err != nil {
			break
		}
	}
	if err = errors.Join(err, out.Close()); err != nil {
		f.root.Remove(tmp)
		return "", "", err
	}
	return tmp, fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts)), nil
}

func (f *folder) appendFile(out io.Writer, name string) error {
	in, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}

// AbortMultipartUpload implements gofakes3.MultipartBackend.
func (f *folder) AbortMultipartUpload(_ context.Context, _, _ string, id gofakes3.UploadID) error {
	f.mu.Lock()
	u := f.uploads[id]
	delete(f.uploads, id)
	f.mu.Unlock()
	if u != nil {
		f.discard(u)
	}
	return nil
}

// discard removes an upload's parts.
func (f *folder) discard(u *upload) {
	for _, p := range u.parts {
		f.root.Remove(p.file)
	}
}
