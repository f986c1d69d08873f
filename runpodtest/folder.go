package runpodtest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rclone/gofakes3"
)

// uploadsDir is where unfinished uploads lie, in the volume but hidden from S3,
// as on the service (Runpod docs).
const uploadsDir = ".s3compat_uploads"

// folder is the volume as S3 sees it: a gofakes3 backend over a real directory,
// in which a worker's program works with ordinary files. What S3 alone knows of
// a file, its ETag and metadata, is kept in memory. It is safe for concurrent
// use; os.Root keeps it inside its directory.
type folder struct {
	root   *os.Root
	bucket string
	seed   uint64
	made   time.Time

	mu      sync.Mutex
	objects map[string]object
	names   int // for unique names
}

// object is what S3 knows of a file it wrote.
type object struct {
	file os.FileInfo // tells a file overwritten in place from a new one
	etag string      // unquoted
	meta map[string]string
}

func openFolder(dir, bucket string, seed uint64) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root, bucket: bucket, seed: seed, made: time.Now(),
		objects: map[string]object{}}, nil
}

// close removes what unfinished uploads left.
func (f *folder) close() error {
	err := f.root.RemoveAll(uploadsDir)
	return errors.Join(err, f.root.Close())
}

// s3Error is an S3 error whose code gofakes3 does not know; status is one whose
// HTTP status it has.
type s3Error struct {
	gofakes3.ErrorResponse
	status gofakes3.ErrorCode
}

func (e *s3Error) ErrorCode() gofakes3.ErrorCode { return e.status }

func newS3Error(status gofakes3.ErrorCode, code, message string) error {
	return &s3Error{gofakes3.ErrorResponse{Code: gofakes3.ErrorCode(code), Message: message}, status}
}

// isFolder reports whether a key is that of a folder: it ends in a slash.
func isFolder(key string) bool { return strings.HasSuffix(key, "/") }

// checkKey refuses keys that are no path of a file or folder in the volume.
func checkKey(key string) error {
	for _, name := range strings.Split(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case name == "", name == ".", name == "..", strings.ContainsRune(name, 0):
			return gofakes3.ErrorInvalidArgument("key", key, "the key is not the path of a file in the volume")
		case len(name) > 255:
			return gofakes3.ErrorMessage(gofakes3.ErrKeyTooLong, "a name in the key is over 255 bytes")
		}
	}
	if strings.TrimSuffix(key, "/") == uploadsDir || strings.HasPrefix(key, uploadsDir+"/") {
		return gofakes3.ErrorInvalidArgument("key", key, "the folder of unfinished uploads is not an object")
	}
	return nil
}

// fileError translates what the file system says about a key.
func fileError(key string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return gofakes3.KeyNotFound(key)
	case errors.Is(err, syscall.ENOSPC):
		return newS3Error(gofakes3.ErrInternal, "QuotaExceeded", "the volume is full")
	}
	return err
}

// stat returns a key's file, which must be a regular one, or its folder.
func (f *folder) stat(key string) (os.FileInfo, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	info, err := f.root.Stat(strings.TrimSuffix(key, "/"))
	switch {
	case err != nil:
		return nil, fileError(key, err)
	case isFolder(key) != info.IsDir(), !info.IsDir() && !info.Mode().IsRegular():
		return nil, gofakes3.KeyNotFound(key)
	}
	return info, nil
}

// sizeOf is an object's size: a folder has none.
func sizeOf(info os.FileInfo) int64 {
	if info.IsDir() {
		return 0
	}
	return info.Size()
}

// emptyETag is the MD5 of nothing: a folder's ETag.
const emptyETag = "d41d8cd98f00b204e9800998ecf8427e"

// describe is what S3 says of a file. One that a worker wrote has an ETag made
// of its time and size, no MD5; one that a worker overwrote in place keeps the
// ETag S3 gave it, as attributes stored with the file do.
func (f *folder) describe(key string, info os.FileInfo) (etag string, meta map[string]string) {
	f.mu.Lock()
	o, known := f.objects[key]
	f.mu.Unlock()
	meta = map[string]string{}
	etag = fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size())
	if info.IsDir() {
		etag = emptyETag
	}
	if known && os.SameFile(o.file, info) {
		etag = o.etag
		for k, v := range o.meta {
			meta[k] = v
		}
	}
	meta["Last-Modified"] = info.ModTime().UTC().Format(http.TimeFormat)
	return etag, meta
}

// isCurrent reports whether a key's ETag or date is still what If-Range says.
func (f *folder) isCurrent(key, tag string) bool {
	info, err := f.stat(key)
	if err != nil {
		return false
	}
	etag, meta := f.describe(key, info)
	return tag == `"`+etag+`"` || tag == meta["Last-Modified"]
}

// etagMark begins the Hash of every object handed to gofakes3, which prints it
// in hexadecimal; the gateway turns that back into the ETag it stands for.
const etagMark = "etag:"

func (f *folder) object(key string, info os.FileInfo, body io.ReadCloser) *gofakes3.Object {
	etag, meta := f.describe(key, info)
	return &gofakes3.Object{Name: key, Metadata: meta, Size: sizeOf(info), Contents: body, Hash: []byte(etagMark + etag)}
}

// HeadObject implements gofakes3.Backend.
func (f *folder) HeadObject(_ context.Context, _, key string) (*gofakes3.Object, error) {
	info, err := f.stat(key)
	if err != nil {
		return nil, err
	}
	return f.object(key, info, http.NoBody), nil
}

// GetObject implements gofakes3.Backend.
func (f *folder) GetObject(_ context.Context, _, key string, want *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	info, err := f.stat(key)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return f.object(key, info, http.NoBody), nil
	}
	file, err := f.root.Open(key)
	if err != nil {
		return nil, fileError(key, err)
	}
	o, err := f.slice(key, file, want)
	if err != nil {
		file.Close()
		return nil, err
	}
	return o, nil
}

// slice is the wanted part of an open file. The size that is promised is the
// size that is read, even if a worker goes on writing.
func (f *folder) slice(key string, file *os.File, want *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	o := f.object(key, info, nil)
	start, length := int64(0), o.Size
	if o.Range, err = want.Range(o.Size); err != nil {
		return nil, err
	}
	if o.Range != nil {
		start, length = o.Range.Start, o.Range.Length
	}
	o.Contents = struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, start, length), file}
	return o, nil
}

// PutObject implements gofakes3.Backend: the body goes to a temporary file that
// takes the key's place only when it is whole.
func (f *folder) PutObject(_ context.Context, _, key string, meta map[string]string, body io.Reader, size int64) (gofakes3.PutObjectResult, error) {
	if err := checkKey(key); err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	if isFolder(key) {
		return gofakes3.PutObjectResult{}, f.makeFolder(key, size)
	}
	tmp, sum, err := f.receive(body, size)
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	return gofakes3.PutObjectResult{}, f.install(tmp, key, object{etag: sum, meta: meta})
}

// makeFolder makes a folder, which is what an object whose key ends in a slash
// is on a disk.
func (f *folder) makeFolder(key string, size int64) error {
	if size > 0 {
		return gofakes3.ErrorInvalidArgument("key", key, "a key that ends in a slash is a folder, which holds no data")
	}
	if f.root.MkdirAll(strings.TrimSuffix(key, "/"), 0o755) != nil {
		return errParentIsFile
	}
	return nil
}

// errParentIsFile is a key that the disk has no place for.
var errParentIsFile = newS3Error(gofakes3.ErrInvalidBucketState, "ObjectParentIsFile",
	"a file is where the key needs a folder, or a folder where it needs a file")

// receive stores a body in a temporary file and returns that and its MD5.
func (f *folder) receive(body io.Reader, size int64) (tmp, sum string, err error) {
	if err := f.root.MkdirAll(uploadsDir, 0o755); err != nil {
		return "", "", err
	}
	tmp = path.Join(uploadsDir, "part-"+f.unique())
	file, err := f.root.Create(tmp)
	if err != nil {
		return "", "", err
	}
	hash := md5.New()
	n, err := io.Copy(io.MultiWriter(file, hash), body)
	err = errors.Join(err, file.Close())
	if err == nil && size >= 0 && n != size {
		err = gofakes3.ErrIncompleteBody
	}
	if err != nil {
		f.root.Remove(tmp)
		return "", "", unjoin(err)
	}
	return tmp, hex.EncodeToString(hash.Sum(nil)), nil
}

// unjoin returns a lone joined error as itself: gofakes3 looks at its type.
func unjoin(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 {
		return j.Unwrap()[0]
	}
	return err
}

// install puts a temporary file in a key's place.
func (f *folder) install(tmp, key string, o object) error {
	now := time.Now() // in a synctest bubble, not what the kernel would put
	f.root.Chtimes(tmp, now, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.root.MkdirAll(path.Dir(key), 0o755)
	if err == nil {
		if info, serr := f.root.Stat(key); serr == nil && info.IsDir() {
			f.root.Remove(key) // an empty folder is in nobody's way
		}
		err = f.root.Rename(tmp, key)
	}
	if err != nil {
		f.root.Remove(tmp)
		return errParentIsFile
	}
	if o.file, err = f.root.Stat(key); err != nil {
		return err
	}
	f.objects[key] = o
	return nil
}

func (f *folder) unique() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names++
	return fmt.Sprintf("%s-%d", name(f.seed, drawName, -f.names, 20), f.names)
}

// DeleteObject implements gofakes3.Backend.
func (f *folder) DeleteObject(_ context.Context, _, key string) (res gofakes3.ObjectDeleteResult, err error) {
	if _, err := f.stat(key); err != nil {
		if gofakes3.HasErrorCode(err, gofakes3.ErrNoSuchKey) {
			err = nil
		}
		return res, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, key)
	err = f.root.Remove(strings.TrimSuffix(key, "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil && isFolder(key):
		err = newS3Error(gofakes3.ErrInvalidBucketState, "FolderNotEmpty", "the folder is not empty")
	}
	return res, err
}

// CopyObject implements gofakes3.Backend.
func (f *folder) CopyObject(ctx context.Context, _, from, bucket, to string, meta map[string]string) (res gofakes3.CopyObjectResult, err error) {
	src, err := f.GetObject(ctx, bucket, from, nil)
	if err != nil {
		return res, err
	}
	defer src.Contents.Close()
	if _, err := f.PutObject(ctx, bucket, to, meta, src.Contents, src.Size); err != nil {
		return res, err
	}
	info, err := f.stat(to)
	if err != nil {
		return res, err
	}
	etag, _ := f.describe(to, info)
	return gofakes3.CopyObjectResult{ETag: `"` + etag + `"`, LastModified: gofakes3.NewContentTime(info.ModTime())}, nil
}

// ListBuckets implements gofakes3.Backend: a key sees its one volume.
func (f *folder) ListBuckets(context.Context) ([]gofakes3.BucketInfo, error) {
	return []gofakes3.BucketInfo{{Name: f.bucket, CreationDate: gofakes3.NewContentTime(f.made)}}, nil
}

// BucketExists implements gofakes3.Backend.
func (f *folder) BucketExists(_ context.Context, name string) (bool, error) {
	return name == f.bucket, nil
}

// CreateBucket implements gofakes3.Backend: volumes are not made through S3.
func (f *folder) CreateBucket(context.Context, string) error { return gofakes3.ErrNotImplemented }

// DeleteBucket implements gofakes3.Backend: nor removed.
func (f *folder) DeleteBucket(context.Context, string) error { return gofakes3.ErrNotImplemented }

// DeleteMulti implements gofakes3.Backend: objects are deleted one at a time
// (Runpod docs).
func (f *folder) DeleteMulti(context.Context, string, ...string) (gofakes3.MultiDeleteResult, error) {
	return gofakes3.MultiDeleteResult{}, gofakes3.ErrNotImplemented
}
