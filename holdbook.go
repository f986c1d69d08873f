package runpod

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// HoldRecord is what is recorded of a hold, outside of the process that holds.
type HoldRecord struct {
	ID       string    `json:"id"`
	Endpoint string    `json:"endpoint"`
	Number   int       `json:"number"`  // above that of every record there was: clocks differ
	Workers  int       `json:"workers"` // the minimum that it asks for
	Before   int       `json:"before"`  // the minimum without holds, when it was taken
	Phase    HoldPhase `json:"phase"`
	Void     []string  `json:"void,omitempty"` // holds overruled by a person before it was taken
	Owner    string    `json:"owner"`          // host name and process id, for people
	Taken    time.Time `json:"taken"`
	Renewed  time.Time `json:"renewed"`
}

// HoldPhase says how far a hold is. While it changes, the endpoint's minimum may
// be the one with it or the one without it.
type HoldPhase string

const (
	phaseRaising  HoldPhase = "raising"
	phaseHeld     HoldPhase = "held"
	phaseLowering HoldPhase = "lowering"
)

// Stale reports whether the process that held is gone, or its release failed:
// the next client to hold or to release clears it.
func (r HoldRecord) Stale() bool { return !r.live(time.Now()) }

func (r HoldRecord) live(now time.Time) bool {
	return r.Phase != phaseLowering && now.Sub(r.Renewed) < holdStale
}

func holdOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// book is all records of one endpoint. Its methods are pure.
type book []HoldRecord

// base is the minimum without holds: what the newest record found.
func (b book) base() (int, bool) {
	if len(b) == 0 {
		return 0, false
	}
	newest := slices.MaxFunc(b, func(x, y HoldRecord) int {
		return cmp.Or(cmp.Compare(x.Number, y.Number), cmp.Compare(x.ID, y.ID))
	})
	return newest.Before, true
}

// last is the highest number.
func (b book) last() (n int) {
	for _, r := range b {
		n = max(n, r.Number)
	}
	return n
}

// void names the holds that a person has overruled.
func (b book) void() (ids []string) {
	for _, r := range b {
		ids = append(ids, r.Void...)
	}
	return ids
}

// account reports whether the holds account for such a minimum. If not, a person
// has changed it. A hold that is being raised or lowered may be in it or not.
func (b book) account(minimum int) bool {
	settled, ok := b.base()
	if !ok {
		return false
	}
	void := b.void()
	var moving []int
	for _, r := range b {
		switch {
		case slices.Contains(void, r.ID):
		case r.Phase == phaseHeld:
			settled = max(settled, r.Workers)
		default:
			moving = append(moving, r.Workers)
		}
	}
	for _, n := range moving {
		if minimum == max(settled, n) {
			return true
		}
	}
	return minimum == settled
}

// want is the minimum that the records ask for, but for those that are going.
func (b book) want(base int, going []HoldRecord, now time.Time) int {
	void := b.void()
	for _, r := range b {
		leaves := slices.ContainsFunc(going, func(g HoldRecord) bool { return g.ID == r.ID })
		if !leaves && r.live(now) && !slices.Contains(void, r.ID) {
			base = max(base, r.Workers)
		}
	}
	return base
}

// holdStore keeps the records of one endpoint's holds.
type holdStore interface {
	list(ctx context.Context) (book, error)
	put(ctx context.Context, r HoldRecord) error
	remove(ctx context.Context, id string) error
}

// openHoldStore chooses the network volume, which everybody sees, where there is
// one.
func openHoldStore(c *config, v *volume, endpoint string) (holdStore, error) {
	if !endpointID.MatchString(endpoint) {
		return nil, refuse("hold workers", "EndpointID", "the control plane names the endpoint %q", endpoint)
	}
	if c.missingForS3("") == nil {
		return volumeHolds{v, ".runpod-go/holds/" + endpoint + "/"}, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, &Error{Op: "hold workers", Err: fmt.Errorf("there is no place for the record: %w", err), Advice: "set the S3 settings, or XDG_CACHE_HOME"}
	}
	return fileHolds{filepath.Join(dir, "runpod-go", "holds", endpoint)}, nil
}

// volumeHolds keeps records as objects on the network volume.
type volumeHolds struct {
	v      *volume
	prefix string
}

// list asks for the keys twice and takes them all: what lists the files of a
// folder may miss one that is replaced in that moment.
func (h volumeHolds) list(ctx context.Context) (all book, err error) {
	keys := map[string]bool{}
	for range 2 {
		if err := h.addKeys(ctx, keys); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		var text bytes.Buffer
		_, err := h.v.download(ctx, "list holds", key, &text)
		switch {
		case errors.Is(err, ErrNotFound): // released meanwhile
			continue
		case err != nil:
			return nil, err
		}
		if all, err = all.parse(key, text.Bytes()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// addKeys adds the keys of all records, of which there are few: one page.
func (h volumeHolds) addKeys(ctx context.Context, keys map[string]bool) error {
	t, ctx := h.v.begin(ctx, "list holds")
	out, err := h.v.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &h.v.bucket, Prefix: &h.prefix},
		func(o *s3.Options) { o.Retryer = t })
	if err != nil {
		return t.fail(err)
	}
	for _, o := range out.Contents {
		if o.Key != nil && path.Ext(*o.Key) == ".json" {
			keys[*o.Key] = true
		}
	}
	return nil
}

func (b book) parse(name string, text []byte) (book, error) {
	var r HoldRecord
	if err := json.Unmarshal(text, &r); err != nil || r.ID == "" {
		return nil, &Error{Op: "list holds", Kind: ErrIntegrity, Err: fmt.Errorf("%s is not the record of a hold", name),
			Advice: "delete it, and check the endpoint's minimum of workers"}
	}
	return append(b, r), nil
}

func (h volumeHolds) put(ctx context.Context, r HoldRecord) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = h.v.upload(ctx, "record hold", h.prefix+r.ID+".json", Bytes(r.ID+".json", text))
	}
	return err
}

func (h volumeHolds) remove(ctx context.Context, id string) error {
	return h.v.delete(ctx, "remove the hold's record", h.prefix+id+".json")
}

// fileHolds keeps records as files in a folder.
type fileHolds struct{ dir string }

func (h fileHolds) list(context.Context) (book, error) {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all book
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".json" || err != nil {
			continue // the beginning of a file that is being written
		}
		text, readErr := os.ReadFile(filepath.Join(h.dir, e.Name()))
		if errors.Is(readErr, fs.ErrNotExist) {
			continue
		}
		if err = readErr; err == nil {
			all, err = all.parse(filepath.Join(h.dir, e.Name()), text)
		}
	}
	return all, err
}

func (h fileHolds) put(_ context.Context, r HoldRecord) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	return writeWhole(filepath.Join(h.dir, r.ID+".json"), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func (h fileHolds) remove(_ context.Context, id string) error {
	if err := os.Remove(filepath.Join(h.dir, id+".json")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
