package runpodtest

import (
	"context"
	"io/fs"
	"os"
	"sort"

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
		var m gofakes3.PrefixMatch
		if !prefix.Match(file.key, &m) {
			continue
		}
		item := file.key
		if m.CommonPrefix {
			item = m.MatchedPart
		}
		if item == last || (page.HasMarker && item <= page.Marker) {
			continue
		}
		if page.MaxKeys > 0 && int64(len(list.Contents)+len(list.CommonPrefixes)) == page.MaxKeys {
			list.IsTruncated, list.NextMarker = true, last
			break
		}
		last = item
		if m.CommonPrefix {
			list.AddPrefix(item)
		} else {
			list.Add(f.content(file))
		}
	}
	return list, nil
}

// listed is a file in the order of keys.
type listed struct {
	key  string
	info os.FileInfo
}

func (f *folder) content(l listed) *gofakes3.Content {
	etag, _ := f.describe(l.key, l.info)
	return &gofakes3.Content{Key: l.key, Size: l.info.Size(), ETag: `"` + etag + `"`,
		LastModified: gofakes3.NewContentTime(l.info.ModTime()), StorageClass: gofakes3.StorageStandard}
}

// files returns every object of the volume, in the byte order of their keys.
func (f *folder) files() ([]listed, error) {
	var out []listed
	err := fs.WalkDir(f.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && p == ".":
			return err
		case err != nil:
			return nil // a worker has just removed it
		case d.IsDir() && p == uploadsDir:
			return fs.SkipDir
		case d.Type().IsRegular():
			if info, err := d.Info(); err == nil {
				out = append(out, listed{p, info})
			}
		}
		return nil
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
