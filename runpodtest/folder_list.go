package runpodtest

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/rclone/gofakes3"
)

// ListBucket implements gofakes3.Backend.
func (f *folder) ListBucket(_ context.Context, _ string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	files, err := f.files()
	if err != nil {
		return nil, err
	}
	list, last := gofakes3.NewObjectList(), ""
	for _, file := range files {
		item, common, ok := fold(file.key, prefix)
		if !ok || item == last || (page.HasMarker && item <= page.Marker) {
			continue
		}
		if page.MaxKeys > 0 && int64(len(list.Contents)+len(list.CommonPrefixes)) == page.MaxKeys {
			list.IsTruncated, list.NextMarker = true, last
			break
		}
		last = item
		if common {
			list.AddPrefix(item)
		} else {
			list.Add(f.content(file))
		}
	}
	return list, nil
}

// fold returns how a key stands in a listing: as itself, or as the common prefix
// that ends with the first delimiter after the listing's prefix.
func fold(key string, prefix *gofakes3.Prefix) (item string, common, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix.Prefix)
	if i := strings.Index(rest, prefix.Delimiter); ok && prefix.Delimiter != "" && i >= 0 {
		return key[:len(prefix.Prefix)+i+len(prefix.Delimiter)], true, true
	}
	return key, false, ok
}

// listed is a file or an empty folder in the order of keys.
type listed struct {
	key  string
	info os.FileInfo
}

func (f *folder) content(l listed) *gofakes3.Content {
	etag, _ := f.describe(l.key, l.info)
	return &gofakes3.Content{Key: l.key, Size: sizeOf(l.info), ETag: `"` + etag + `"`,
		LastModified: gofakes3.NewContentTime(l.info.ModTime()), StorageClass: gofakes3.StorageStandard}
}

// files returns every object of the volume, in the byte order of their keys.
// Empty folders are listed too, unlike in S3 (Runpod docs); that their keys end
// in a slash is inferred.
func (f *folder) files() ([]listed, error) {
	var out []listed
	full := map[string]bool{".": true} // folders that have something in them
	add := func(key string, d fs.DirEntry) {
		if info, err := d.Info(); err == nil { // else a worker has just removed it
			out = append(out, listed{key, info})
		}
	}
	err := fs.WalkDir(f.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		full[path.Dir(p)] = true
		switch {
		case err != nil && p == ".":
			return err
		case err != nil:
			return nil // a worker has just removed it
		case d.IsDir() && p == uploadsDir:
			return fs.SkipDir
		case d.IsDir():
			add(p+"/", d)
		case d.Type().IsRegular():
			add(p, d)
		}
		return nil
	})
	out = slices.DeleteFunc(out, func(l listed) bool {
		return isFolder(l.key) && full[strings.TrimSuffix(l.key, "/")]
	})
	sort.Slice(out, func(i, j int) bool { return out[i].key < out[j].key })
	return out, err
}

// used is how many bytes the volume's files take.
func (f *folder) used() (sum int64) {
	fs.WalkDir(f.root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
