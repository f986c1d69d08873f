package runpod

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gpuburst/runpod-go/internal/line"
)

// uploadDir is [Client.UploadDir].
func (s *store) uploadDir(ctx context.Context, dir, prefix string) ([]Object, error) {
	op := "upload folder " + dir
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	defer root.Close()
	keys, err := keysOf(root, strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	objects := make([]Object, len(keys))
	err = sharing(o, s.volume, op, indexes(len(keys)), func(ctx context.Context, i int) (err error) {
		objects[i], err = s.volume.upload(ctx, "upload "+keys[i].key, keys[i].key, fileIn(root, keys[i].path))
		return err
	})
	return slices.DeleteFunc(objects, func(o Object) bool { return o.Key == "" }), err
}

// sharing is line.ForEach with the pool's width, as one caller of the pool.
func sharing[T any](o *operation, v *volume, op string, produce line.Producer[T], do func(context.Context, T) error) error {
	err := line.ForEach(asCaller(o), v.places.Size()+1, produce, do)
	switch {
	case err == nil:
		return nil
	case o.Err() != nil:
		return ended(o, op)
	}
	return asError(op, err)
}

func indexes(n int) line.Producer[int] {
	return func(_ context.Context, emit func(int) error) error {
		for i := range n {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}
}

// listed produces the objects of a listing.
func (s *store) listed(prefix string) line.Producer[Object] {
	return func(ctx context.Context, emit func(Object) error) error {
		for obj, err := range s.list(ctx, prefix) {
			if err == nil {
				err = emit(obj)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// keyedFile is a file within a folder and the key it is to have.
type keyedFile struct{ path, key string }

// keysOf lists the files of a folder, and refuses what cannot be uploaded.
func keysOf(root *os.Root, prefix string) (files []keyedFile, err error) {
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither a regular file nor a folder", path)
		}
		key := path
		if prefix != "" {
			key = prefix + "/" + path
		}
		if err := checkKey(key); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		files = append(files, keyedFile{filepath.FromSlash(path), key})
		return nil
	})
	return files, err
}

// downloadDir is [Client.DownloadDir].
func (s *store) downloadDir(ctx context.Context, prefix, dir string) ([]Object, error) {
	op := "download folder " + prefix
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	defer root.Close()
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	var done objectList
	err = sharing(o, s.volume, op, s.listed(prefix), func(ctx context.Context, obj Object) error {
		got, err := s.volume.downloadInto(ctx, root, obj.Key, strings.TrimPrefix(obj.Key, prefix))
		if err == nil && got.Key != "" {
			done.add(got)
		}
		return err
	})
	return done.sorted(), err
}

// downloadInto downloads an object to a file within a folder. The key of a
// folder, which some gateways list, is passed over.
func (v *volume) downloadInto(ctx context.Context, root *os.Root, key, name string) (obj Object, err error) {
	op := "download " + key
	if name == "" || strings.HasSuffix(name, "/") {
		return Object{}, nil
	}
	path, err := filepath.Localize(name)
	if err != nil {
		return Object{}, &Error{Op: op, Err: fmt.Errorf("the key leads out of the folder: %w", err)}
	}
	if err := root.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return Object{}, &Error{Op: op, Err: err}
	}
	err = writeWholeIn(root, path, func(w io.Writer) (err error) {
		obj, err = v.download(ctx, op, key, w)
		return err
	})
	if err != nil {
		return Object{}, asError(op, err)
	}
	return obj, nil
}

// deleteAll is [Client.DeleteAll].
func (s *store) deleteAll(ctx context.Context, prefix string) (int, error) {
	op := "delete all " + prefix
	if prefix == "" {
		return 0, refuse(op, "prefix", "it is empty, which would delete everything on the volume")
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return 0, err
	}
	defer o.end()
	var done, folders objectList
	remove := func(ctx context.Context, obj Object) error {
		err := s.volume.delete(ctx, "delete "+obj.Key, obj.Key)
		if err == nil {
			done.add(obj)
		}
		return err
	}
	err = sharing(o, s.volume, op, s.listed(prefix), func(ctx context.Context, obj Object) error {
		if strings.HasSuffix(obj.Key, "/") { // a folder, which must be empty first
			folders.add(obj)
			return nil
		}
		return remove(ctx, obj)
	})
	deepest := folders.sorted()
	slices.Reverse(deepest)
	for _, folder := range deepest {
		if err == nil {
			err = remove(o, folder)
		}
	}
	return len(done.objects), err
}

// objectList collects objects from several goroutines.
type objectList struct {
	mu      sync.Mutex
	objects []Object
}

func (l *objectList) add(o Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects = append(l.objects, o)
}

func (l *objectList) sorted() []Object {
	slices.SortFunc(l.objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return l.objects
}
