package runpod

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// maxResumeFile is far more than such a file has.
const maxResumeFile = 64 << 10

var (
	uploadID = regexp.MustCompile(`^[!-~]{1,1000}$`)   // printable ASCII
	ownText  = regexp.MustCompile(`^[A-Z2-7]{26,40}$`) // rand.Text
)

// makesSense reports whether this library can have written the file: anybody
// who may write to the folder may have changed it.
func (u *unfinishedUpload) makesSense() bool {
	return uploadID.MatchString(u.UploadID) && ownText.MatchString(u.Own) &&
		u.Size > 0 && u.Size <= maxObject &&
		u.PartSize >= 1 && u.PartSize <= max(maxPartSize, ceilDiv(u.Size, maxParts)) &&
		ceilDiv(u.Size, u.PartSize) <= maxParts
}

// continues reports whether an upload of so many bytes can go on with u.
func (u *unfinishedUpload) continues(size int64, kind Checksum) bool {
	return u.Size == size && u.Checksum == kind
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

var errOddFile = errors.New("the file makes no sense")

// load reads what is known of an unfinished upload of the key. It returns nil if
// nothing is known, and an error if the file makes no sense.
func (r *resumable) load(key string) (*unfinishedUpload, error) {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxResumeFile))
	var u unfinishedUpload
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, &u) != nil || u.Store != r.dir.store || u.Key != key || !u.makesSense() {
		return nil, errOddFile
	}
	return &u, nil
}

func (r *resumable) save(u unfinishedUpload) error {
	if err := os.MkdirAll(r.dir.dir, 0o700); err != nil {
		return err
	}
	u.Store = r.dir.store
	return writePrivate(r.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(u) })
}

// completing notes that the gateway is about to be asked to put the parts
// together.
func (r *resumable) completing(key string) error {
	if r == nil {
		return nil
	}
	u, err := r.load(key)
	if err != nil || u == nil || u.Completing {
		return nil // what was not noted is not gone on with
	}
	u.Completing = true
	return r.save(*u)
}

func (r *resumable) forget() { os.Remove(r.path) }
