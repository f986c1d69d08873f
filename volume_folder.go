package runpod

import (
	"context"
	"errors"
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

// uploadDir uploads every file of a folder and of those in it.
func (s *store) uploadDir(ctx context.Context, dir, prefix string) ([]Object, error) {
	op := opOn("upload folder", dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	defer root.Close()
	files, err := keyedFiles(root, strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, refuse(op, "dir", "%w", err)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	k := s.volume.gw.newTask(o, op)
	objects := make([]Object, len(files))
	err = forEachOf(o, k, indexes(len(files)), func(ctx context.Context, i int) (err error) {
		f := files[i]
		objects[i], err = s.volume.uploadAs(ctx, k.part(opOn("upload", f.key)), f.key, fileIn(root, f.path))
		return err
	})
	return slices.DeleteFunc(objects, func(o Object) bool { return o.Key == "" }), err
}

// forEachOf is line.ForEach with the pool's width. All of it is one task, whose
// files share the pool with other tasks as one.
func forEachOf[T any](ctx context.Context, k task, produce line.Producer[T], do func(context.Context, T) error) error {
	err := line.ForEach(ctx, k.gw.pool.Size()+1, produce, do)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ended(ctx, k.op)
	}
	return asError(k.op, err)
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
func listed(k task, prefix string) line.Producer[Object] {
	return func(ctx context.Context, emit func(Object) error) error {
		for obj, err := range listAs(ctx, k.part(opOn("list", prefix)), prefix) {
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

// keyedFiles lists the files of a folder, and refuses what cannot be uploaded.
func keyedFiles(root *os.Root, prefix string) (files []keyedFile, err error) {
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

// downloadDir downloads every object under a folder to a local one.
func (s *store) downloadDir(ctx context.Context, prefix, dir string) ([]Object, error) {
	op := opOn("download folder", prefix)
	o, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
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
	k := s.volume.gw.newTask(o, op)
	var done objectList
	var unfit unfitKeys
	err = forEachOf(o, k, listed(k, prefix), func(ctx context.Context, obj Object) error {
		got, err := s.volume.downloadInto(ctx, k, root, obj.Key, strings.TrimPrefix(obj.Key, prefix))
		if odd, ok := errors.AsType[*unfitError](err); ok {
			unfit.note(obj.Key, odd)
			return nil
		}
		if err == nil && got.Key != "" {
			done.append(got)
		}
		return err
	})
	if err == nil {
		err = unfit.failure(op)
	}
	return done.sorted(), err
}

// downloadInto downloads an object to a file within a folder. The key of a
// folder, which some gateways list, is passed over.
func (v *volume) downloadInto(ctx context.Context, k task, root *os.Root, key, name string) (obj Object, err error) {
	k = k.part(opOn("download", key))
	if name == "" || strings.HasSuffix(name, "/") {
		return Object{}, nil
	}
	path, err := localPath(name)
	if err == nil {
		err = root.MkdirAll(filepath.Dir(path), 0o777)
	}
	isFolder := func() bool {
		info, err := root.Lstat(path)
		return err == nil && info.IsDir()
	}
	switch {
	case err != nil:
		return Object{}, &unfitError{err}
	case isFolder():
		return Object{}, &unfitError{errFolderThere}
	}
	err = writeWholeIn(root, path, func(w io.Writer) (err error) {
		obj, err = v.downloadAs(ctx, k, key, w)
		return err
	})
	switch {
	case err != nil && isFolder(): // made meanwhile, for another key
		return Object{}, &unfitError{errFolderThere}
	case err != nil:
		return Object{}, asError(k.op, err)
	}
	return obj, nil
}

var errFolderThere = errors.New("a folder of that name is there")

// localPath makes a path of a key within its folder.
func localPath(name string) (string, error) {
	path, err := filepath.Localize(name)
	if err != nil && strings.Contains(name, "//") {
		return "", errors.New("it has an empty name in it, or leads out of the folder")
	}
	if err != nil {
		return "", fmt.Errorf("it leads out of the folder: %w", err)
	}
	return path, nil
}

// unfitError is why a key cannot be a file in a local folder.
type unfitError struct{ error }

func (e *unfitError) Unwrap() error { return e.error }

// unfitKeys collects such keys, which are left out.
type unfitKeys struct {
	mu    sync.Mutex
	first []string // a few of them, with the reason
	n     int
}

func (u *unfitKeys) note(key string, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n++; u.n <= 5 {
		u.first = append(u.first, fmt.Sprintf("%.300q: %v", key, why))
	}
}

func (u *unfitKeys) failure(op string) error {
	if u.n == 0 {
		return nil
	}
	return &Error{Op: op, Err: fmt.Errorf("left out, since they cannot be files there, are %d keys: %s", u.n, strings.Join(u.first, "; ")),
		Advice: "fetch them one by one with DownloadFile; everything else is there"}
}

// deleteAll deletes every object whose key begins with a prefix.
func (s *store) deleteAll(ctx context.Context, prefix string) (int, error) {
	op := opOn("delete all", prefix)
	if prefix == "" {
		return 0, refuse(op, "prefix", "it is empty, which would delete everything on the volume")
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return 0, err
	}
	defer o.end()
	k := s.volume.gw.newTask(o, op)
	var done, folders objectList
	remove := func(ctx context.Context, obj Object) error {
		err := deleteObject(ctx, k.part(opOn("delete", obj.Key)), obj.Key)
		if err == nil {
			done.append(obj)
		}
		return err
	}
	err = forEachOf(o, k, listed(k, prefix), func(ctx context.Context, obj Object) error {
		if strings.HasSuffix(obj.Key, "/") { // a folder, which must be empty first
			folders.append(obj)
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

func (l *objectList) append(o Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects = append(l.objects, o)
}

func (l *objectList) sorted() []Object {
	slices.SortFunc(l.objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return l.objects
}
