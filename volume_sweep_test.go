package runpod

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Jobs whose keys were made up leave nothing on a volume that has real folders.
func TestJobsLeaveNoFolders(t *testing.T) {
	cfg := warm()
	cfg.Handler = tryon
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 6)) {
			if err != nil {
				t.Error(err)
			}
		}
		// The gateway keeps unfinished parts in a hidden folder of its own.
		if got := files(t, srv.VolumeDir); !slices.Equal(got, []string{".s3compat_uploads", "results"}) {
			t.Errorf("the volume holds %v", got)
		}
	})
}

// Swept is what is made up and old, and nothing else.
func TestSweepInputs(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		old := time.Now().Add(-25 * time.Hour)
		keep := []string{"input-photo.jpg", "input-AAAA-person.jpg", "inputs", "input-" + "abcdefghijklmnopqrstuvwxyz" + "-x"}
		var left []string
		for range 3 {
			left = append(left, uniqueKey(Bytes("person.jpg", nil)))
		}
		young := uniqueKey(Bytes("person.jpg", nil))
		for _, key := range slices.Concat(keep, left, []string{young}) {
			put(t, srv, key, []byte("x"))
			if key != young {
				if err := os.Chtimes(filepath.Join(srv.VolumeDir, key), old, old); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.Chtimes(filepath.Join(srv.VolumeDir, young), time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		gone, err := c.SweepInputs(t.Context(), 24*time.Hour)
		slices.Sort(left)
		if err != nil || !slices.Equal(keysIn(gone), left) {
			t.Errorf("deleted %v, %v", keysIn(gone), err)
		}
		want := append(slices.Clone(keep), young)
		slices.Sort(want)
		if got := files(t, srv.VolumeDir); !slices.Equal(got, want) {
			t.Errorf("the volume holds %v, want %v", got, want)
		}
		if _, err := c.SweepInputs(t.Context(), 0); err == nil {
			t.Error("an age of 0 is taken")
		}
	})
}

// An object of which the listing does not say when it was written is left alone.
func TestSweepInputsOfUnknownAge(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		key := uniqueKey(Bytes("person.jpg", nil))
		put(t, srv, key, []byte("x"))
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "list-type", Do: runpodtest.Answer(200, listingPage([]string{key}, "false", ""))})
		if gone, err := c.SweepInputs(t.Context(), time.Nanosecond); err != nil || len(gone) > 0 {
			t.Errorf("deleted %v, %v", keysIn(gone), err)
		}
	})
}
