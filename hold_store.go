package runpod

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// holdStore keeps the records of one endpoint's holds. Anybody who may write
// where it keeps them may write records: what makes no sense is named, and left
// alone.
type holdStore interface {
	load(ctx context.Context) (recordsFound, error)
	// find returns one record; a zero one if it is not there, or makes no sense.
	find(ctx context.Context, id string) (HoldRecord, error)
	save(ctx context.Context, r HoldRecord) error
	erase(ctx context.Context, id string) error
}

// maxHoldRecords is how many records are read of an endpoint.
const maxHoldRecords = 10_000

// recordsFound is what a store holds.
type recordsFound struct {
	book book
	odd  []string // what is there and is no hold's record, and why
	cut  bool     // there are more than were read
}

// note reads one record.
func (f *recordsFound) note(name, endpoint string, text []byte) {
	r, err := parseHold(name, endpoint, text, time.Now())
	if err != nil {
		f.strange(name, err)
		return
	}
	f.book = append(f.book, r)
}

func (f *recordsFound) strange(name string, why error) {
	f.odd = append(f.odd, fmt.Sprintf("%.100q: %v", name, why))
}

// cutOff notes that there are more records than are read.
func (f *recordsFound) cutOff(name string, most int) {
	if !f.cut {
		f.cut = true
		f.strange(name, fmt.Errorf("it and what follows were not read: there are more than %d records", most))
	}
}

// err names what is no hold's record; nil: everything is one.
func (f *recordsFound) err() error {
	const most = 10
	if len(f.odd) == 0 {
		return nil
	}
	names := f.odd[:min(len(f.odd), most)]
	text := strings.Join(names, "; ")
	if n := len(f.odd) - len(names); n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return &Error{Op: "list holds", Kind: ErrIntegrity, Err: errors.New("not the record of a hold: " + text),
		Advice: "they are left alone: find out who wrote them, and delete them"}
}

// sensible is the record in a text, or a zero one if it makes no sense.
func sensible(id, endpoint string, text []byte) HoldRecord {
	r, err := parseHold(id+".json", endpoint, text, time.Now())
	if err != nil {
		return HoldRecord{}
	}
	return r
}

// openHoldStores chooses where records are kept: on the network volume, which
// everybody sees, or without S3 settings in the user's cache folder.
func openHoldStores(v *volume) func(endpoint string) (holdStore, error) {
	return func(endpoint string) (holdStore, error) {
		if !endpointID.MatchString(endpoint) {
			return nil, refuse("hold workers", "EndpointID", "the control plane names the endpoint %.100q", endpoint)
		}
		if v.gw.client != nil {
			return volumeHolds{v, endpoint, ".runpod-go/holds/" + endpoint + "/", maxHoldRecords}, nil
		}
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, &Error{Op: "hold workers", Err: fmt.Errorf("there is no place for the record: %w", err), Advice: "set the S3 settings, or XDG_CACHE_HOME"}
		}
		return fileHolds{filepath.Join(dir, "runpod-go", "holds", endpoint), endpoint, maxHoldRecords}, nil
	}
}

// volumeHolds keeps records as objects on the network volume.
type volumeHolds struct {
	v        *volume
	endpoint string
	prefix   string
	most     int // records to read
}

// load asks for the keys twice and takes them all: what lists the files of a
// folder may miss one that is replaced in that moment.
func (h volumeHolds) load(ctx context.Context) (found recordsFound, err error) {
	listed := map[string]int64{}
	for range 2 {
		if err := h.addNames(ctx, listed, &found); err != nil {
			return found, err
		}
	}
	var mu sync.Mutex
	each := func(ctx context.Context, emit func(string) error) error {
		for name := range listed {
			if err := emit(name); err != nil {
				return err
			}
		}
		return nil
	}
	const atOnce = 8
	err = line.ForEach(ctx, atOnce, each, func(ctx context.Context, name string) error {
		text, err := h.read(ctx, name, listed[name])
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, ErrNotFound): // released meanwhile
			return nil
		case errors.Is(err, errNoRecord):
			found.strange(name, err)
			return nil
		case err != nil:
			return err
		}
		found.note(name, h.endpoint, text)
		return nil
	})
	return found, err
}

// addNames adds the names of all records, with their sizes.
func (h volumeHolds) addNames(ctx context.Context, listed map[string]int64, found *recordsFound) error {
	for o, err := range h.v.objects(ctx, "list holds", h.prefix) {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(o.Key, h.prefix)
		_, known := listed[name]
		switch {
		case !strings.HasSuffix(name, ".json"):
		case len(listed) >= h.most && !known:
			found.cutOff(name, h.most)
			return nil
		default:
			listed[name] = o.Size
		}
	}
	return nil
}

// errNoRecord is why something is not even read.
var errNoRecord = fmt.Errorf("no record has such a name, or more than %d bytes", maxHoldRecord)

// read reads an object that may be a record. It stops where a record must have
// ended.
func (h volumeHolds) read(ctx context.Context, name string, size int64) ([]byte, error) {
	if id, _ := strings.CutSuffix(name, ".json"); !holdID.MatchString(id) || size > maxHoldRecord {
		return nil, errNoRecord
	}
	var text recordText
	_, err := h.v.download(ctx, "list holds", h.prefix+name, &text)
	if text.over {
		return nil, errNoRecord
	}
	return text.buf.Bytes(), err
}

// recordText takes as many bytes as a record may have.
type recordText struct {
	buf  bytes.Buffer
	over bool
}

func (t *recordText) Write(p []byte) (int, error) {
	if t.buf.Len()+len(p) > maxHoldRecord {
		t.over = true
		return 0, errNoRecord
	}
	return t.buf.Write(p)
}

func (h volumeHolds) find(ctx context.Context, id string) (r HoldRecord, err error) {
	text, err := h.read(ctx, id+".json", 0)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, errNoRecord):
		return HoldRecord{}, nil
	case err != nil:
		return HoldRecord{}, err
	}
	return sensible(id, h.endpoint, text), nil
}

func (h volumeHolds) save(ctx context.Context, r HoldRecord) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = h.v.upload(ctx, "record hold", h.prefix+r.ID+".json", Bytes(r.ID+".json", text))
	}
	return err
}

func (h volumeHolds) erase(ctx context.Context, id string) error {
	return h.v.delete(ctx, "remove the hold's record", h.prefix+id+".json")
}

// fileHolds keeps records as files in a folder, which is for this user alone. No
// name and no symbolic link leads out of it.
type fileHolds struct {
	dir, endpoint string
	most          int // records to read
}

func (h fileHolds) load(context.Context) (found recordsFound, err error) {
	root, err := os.OpenRoot(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	read := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".json" {
			continue // the beginning of a file that is being written
		}
		if read++; read > h.most {
			found.cutOff(e.Name(), h.most)
			break
		}
		text, readErr := readRecord(root, e.Name())
		switch {
		case errors.Is(readErr, fs.ErrNotExist): // released meanwhile
		case readErr != nil:
			found.strange(e.Name(), readErr)
		default:
			found.note(e.Name(), h.endpoint, text)
		}
	}
	return found, err
}

// readRecord reads what may be a record: no more than one can have, and nothing
// that is not a plain file.
func readRecord(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a plain file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxHoldRecord+1))
}

func (h fileHolds) find(_ context.Context, id string) (HoldRecord, error) {
	root, err := os.OpenRoot(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return HoldRecord{}, nil
	}
	if err != nil {
		return HoldRecord{}, err
	}
	defer root.Close()
	text, err := readRecord(root, id+".json")
	if err != nil {
		return HoldRecord{}, nil
	}
	return sensible(id, h.endpoint, text), nil
}

// save writes a record whole or not at all, for this user's eyes.
func (h fileHolds) save(_ context.Context, r HoldRecord) (err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	name := "." + rand.Text()
	defer func() {
		if err != nil {
			root.Remove(name)
		}
	}()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return root.Rename(name, r.ID+".json")
}

func (h fileHolds) erase(_ context.Context, id string) error {
	root, err := os.OpenRoot(h.dir)
	if err == nil {
		defer root.Close()
		err = root.Remove(id + ".json")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
