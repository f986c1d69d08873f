package runpod

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// resumeDir keeps one small file for each upload that is not finished, named
// after the object, so that another process can go on with it. It is safe for
// concurrent use. Of two uploads to one key at once only the first can be gone
// on with.
type resumeDir struct {
	dir, store string // store: the gateway's address and the bucket

	mu   sync.Mutex
	busy map[string]bool
}

func newResumeDir(dir, store string) *resumeDir {
	return &resumeDir{dir: dir, store: store, busy: map[string]bool{}}
}

// unfinishedUpload is what such a file says.
type unfinishedUpload struct {
	Store, Key string
	UploadID   string // the gateway's
	Own        string // the id in the object's metadata
	Size       int64
	PartSize   int64
	Checksum   Checksum
	Completing bool // its parts may be being put together
}

// continues reports whether an upload of other content sizes can go on with u.
func (u *unfinishedUpload) continues(size int64, kind Checksum) bool {
	return u.Size == size && u.PartSize >= 1 && u.Checksum == kind
}

// resumable is one upload's own file in the folder. A nil one keeps nothing.
type resumable struct {
	dir  *resumeDir
	path string
}

// claim reserves a key's file. It returns nil if another upload has it, or if
// there is no such folder.
func (d *resumeDir) claim(key string) *resumable {
	if d == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(d.store + "\x00" + key))
	r := &resumable{dir: d, path: filepath.Join(d.dir, fmt.Sprintf("%x.upload", sum[:16]))}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[r.path] {
		return nil
	}
	d.busy[r.path] = true
	return r
}

func (r *resumable) unclaim() {
	if r != nil {
		r.dir.mu.Lock()
		defer r.dir.mu.Unlock()
		delete(r.dir.busy, r.path)
	}
}

// load reads what is known of an unfinished upload of the key; nil: nothing.
func (r *resumable) load(key string) *unfinishedUpload {
	data, err := os.ReadFile(r.path)
	var u unfinishedUpload
	if err != nil || json.Unmarshal(data, &u) != nil || u.Store != r.dir.store || u.Key != key {
		return nil
	}
	return &u
}

func (r *resumable) save(u unfinishedUpload) error {
	if err := os.MkdirAll(r.dir.dir, 0o700); err != nil {
		return err
	}
	u.Store = r.dir.store
	return writeWhole(r.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(u) })
}

// completing notes that the gateway is about to be asked to put the parts
// together.
func (r *resumable) completing(key string) error {
	if r == nil {
		return nil
	}
	u := r.load(key)
	if u == nil || u.Completing {
		return nil
	}
	u.Completing = true
	return r.save(*u)
}

func (r *resumable) forget() { os.Remove(r.path) }
