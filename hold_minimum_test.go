package runpod

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// shelf is a store in memory; what is hidden is not listed.
type shelf struct {
	book
	hidden func(HoldRecord) bool
}

func (s *shelf) load(context.Context) (recordsFound, error) {
	var found recordsFound
	for _, r := range s.book {
		if s.hidden == nil || !s.hidden(r) {
			found.book = append(found.book, r)
		}
	}
	return found, nil
}

func (s *shelf) find(_ context.Context, id string) (HoldRecord, error) {
	for _, r := range s.book {
		if r.ID == id {
			return r, nil
		}
	}
	return HoldRecord{}, nil
}

func (s *shelf) save(_ context.Context, r HoldRecord) error { s.book = s.with(r); return nil }

func (s *shelf) erase(_ context.Context, id string) error {
	s.book = s.without(book{{ID: id}})
	return nil
}

// dial is a control plane in memory.
type dial struct {
	Scaling
	set []int
}

// plane makes a ControlPlane of a dial, whose embedded Scaling has the method's
// name.
type plane struct{ d *dial }

func (p plane) Scaling(context.Context) (Scaling, error) { return p.d.Scaling, nil }

func (p plane) SetMinWorkers(_ context.Context, n int) (Scaling, error) {
	p.d.MinWorkers = n
	p.d.set = append(p.d.set, n)
	return p.d.Scaling, nil
}

func (p plane) Workers(context.Context) ([]WorkerState, error) { return nil, nil }

// minimumOf is what holds do at an endpoint in memory.
func minimumOf(d *dial, s *shelf, log *logs) *holdMinimum {
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = log.logger()
	}
	return &holdMinimum{control: plane{d}, logger: logger, open: func(string) (holdStore, error) { return s, nil }}
}

// A listing that misses the record which was just written does not lower what it
// raises.
func TestHoldIsRaisedAlsoIfTheListingMissesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dial{Scaling: Scaling{EndpointID: "abc", MaxWorkers: 5}}
		s := &shelf{hidden: func(r HoldRecord) bool { return r.Workers == 3 }}
		m := minimumOf(d, s, nil)
		v, err := m.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := m.raise(t.Context(), v, v.newRecord(3)); err != nil || r.Phase != phaseHeld || d.MinWorkers != 3 || len(d.set) != 1 {
			t.Errorf("%+v, %v; set %v", r, err, d.set)
		}
	})
}

// A minimum that somebody else has changed is left as it is, with a line in the log.
func TestChangedMinimumIsLeftWithALogLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s, log := &dial{Scaling: Scaling{EndpointID: "abc", MaxWorkers: 5}}, &shelf{}, &logs{}
		m := minimumOf(d, s, log)
		v, _ := m.look(t.Context())
		r, err := m.raise(t.Context(), v, v.newRecord(3))
		if err != nil {
			t.Fatal(err)
		}
		d.MinWorkers = 1
		start := time.Now()
		gone, err := m.lower(t.Context(), &r, func(o HoldRecord) bool { return o.ID == r.ID })
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s, although nothing is changing", took)
		}
		if err != nil || len(gone) != 1 || d.MinWorkers != 1 || len(s.book) != 0 || !strings.Contains(log.String(), "left as it is") {
			t.Errorf("cleared %v, %v; minimum %d, %d records\n%s", gone, err, d.MinWorkers, len(s.book), log)
		}
	})
}

// Stores read so many records and no more.
func TestHoldStoresReadSoManyRecords(t *testing.T) {
	t.Run("listing", func(t *testing.T) {
		var found recordsFound
		for range 3 {
			found.cutOff("x.json", 7)
		}
		if err := found.err(); err == nil || strings.Count(err.Error(), "more than 7 records") != 1 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("files", func(t *testing.T) {
		h := fileHolds{dir: t.TempDir(), endpoint: "abc", most: 3}
		for _, id := range []string{"AAAAAAA1", "AAAAAAA2", "AAAAAAA3", "AAAAAAA4", "AAAAAAA5"} {
			r := goodRecord()
			r.ID, r.Taken, r.Renewed = id, time.Now(), time.Now()
			if err := h.save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		found, err := h.load(t.Context())
		if err != nil || len(found.book) != 3 || len(found.odd) != 1 || !strings.Contains(found.odd[0], `"AAAAAAA4.json": it and what follows were not read`) {
			t.Errorf("%d records, %v, %v", len(found.book), found.odd, err)
		}
	})
	t.Run("objects", func(t *testing.T) {
		inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
			h := volumeHolds{c.volume, "abc", ".runpod-go/holds/abc/", 3}
			for _, id := range []string{"AAAAAAA1", "AAAAAAA2", "AAAAAAA3", "AAAAAAA4", "AAAAAAA5"} {
				r := goodRecord()
				r.ID, r.Taken, r.Renewed = id, time.Now(), time.Now()
				if err := h.save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			found, err := h.load(t.Context())
			if err != nil || len(found.book) != 3 || len(found.odd) != 1 || !strings.Contains(found.odd[0], `"AAAAAAA4.json": it and what follows were not read`) {
				t.Errorf("%d records, %v, %v", len(found.book), found.odd, err)
			}
		})
	})
	t.Run("bytes", func(t *testing.T) {
		var text recordText
		n, err := text.Write(make([]byte, maxHoldRecord))
		if n != maxHoldRecord || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := text.Write([]byte("x")); n != 0 || err == nil || !text.over {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Bounds that no endpoint can have are no ground for a hold.
func TestHoldRefusesImpossibleBounds(t *testing.T) {
	for _, s := range []Scaling{{MinWorkers: -1, MaxWorkers: 5}, {MinWorkers: 1001, MaxWorkers: 2000}, {MaxWorkers: -1}} {
		s.EndpointID = "abc"
		m := minimumOf(&dial{Scaling: s}, &shelf{}, nil)
		if _, err := m.look(t.Context()); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A hold that came only half about is taken back without a word; if that fails,
// the log says so, and its record is left to the next client.
func TestHoldIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s, log := &dial{Scaling: Scaling{EndpointID: "abc", MaxWorkers: 5}}, &shelf{}, &logs{}
		m := minimumOf(d, s, log)
		v, _ := m.look(t.Context())
		r, err := m.raise(t.Context(), v, v.newRecord(3))
		if err != nil {
			t.Fatal(err)
		}
		m.takeBack(t.Context(), r)
		if d.MinWorkers != 0 || len(s.book) != 0 || log.String() != "" {
			t.Errorf("minimum %d, %d records\n%s", d.MinWorkers, len(s.book), log)
		}

		v, _ = m.look(t.Context())
		if r, err = m.raise(t.Context(), v, v.newRecord(3)); err != nil {
			t.Fatal(err)
		}
		m.control = brokenPlane{m.control}
		m.takeBack(t.Context(), r)
		if got, _ := s.find(t.Context(), r.ID); got.Phase != phaseLowering || !strings.Contains(log.String(), "minimum workers may be left raised") {
			t.Errorf("left behind: %+v\n%s", got, log)
		}
	})
}

// brokenPlane is a control plane that nobody reaches any more.
type brokenPlane struct{ ControlPlane }

func (brokenPlane) Scaling(context.Context) (Scaling, error) {
	return Scaling{}, errors.New("the control plane is away")
}
