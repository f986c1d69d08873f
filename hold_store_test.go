package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// watched is a control plane that notes every minimum that is set.
type watched struct {
	runpod.ControlPlane
	mu  sync.Mutex
	set []int
}

func (w *watched) SetMinWorkers(ctx context.Context, n int) (runpod.Scaling, error) {
	w.mu.Lock()
	w.set = append(w.set, n)
	w.mu.Unlock()
	return w.ControlPlane.SetMinWorkers(ctx, n)
}

// raid is a scene on which a stranger writes records. Its clients log.
type raid struct {
	scene
	plane *watched
	log   syncBuffer
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// inRaid runs a test with two clients that record on the volume.
func inRaid(t *testing.T, cfg runpodtest.Config, do func(t *testing.T, s *raid)) {
	t.Helper()
	cfg.MaxWorkers, cfg.ControlPerMinute = 5, 1000
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, cfg)
		s := &raid{plane: &watched{ControlPlane: planeOf(t, srv)}}
		logger := slog.New(slog.NewTextHandler(&s.log, nil))
		opts := []runpod.Option{runpod.WithControl(s.plane), runpod.WithLogger(logger)}
		s.scene = scene{t, srv, steered(t, srv, opts...), steered(t, srv, opts...)}
		do(t, s)
		for _, n := range s.plane.set {
			if n < 0 || n > 5 {
				t.Errorf("the minimum was set to %d, of 0 to 5", n)
			}
		}
	})
}

func (s *raid) folder() string {
	return filepath.Join(s.srv.VolumeDir, ".runpod-go", "holds", s.srv.EndpointID)
}

// write writes something among the records, as a stranger does.
func (s *raid) write(name string, text []byte) {
	s.Helper()
	path := filepath.Join(s.folder(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		s.Fatal(err)
	}
}

// forged is a record in good form, changed.
func (s *raid) forged(change func(r *runpod.HoldRecord)) []byte {
	r := runpod.HoldRecord{ID: "FORGED00", Endpoint: s.srv.EndpointID, Round: 1, Workers: 3, Phase: "held", Owner: "stranger", Taken: time.Now(), Renewed: time.Now()}
	change(&r)
	text, err := json.Marshal(r)
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// What makes no sense as a record is named, and stands in nobody's way: holds are
// taken and released beside it, and clearing leaves it where it is.
func TestHostileHoldRecordsStandInNobodysWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		text func(s *raid) []byte
	}{
		{"an empty file", "junk.json", func(*raid) []byte { return nil }},
		{"an empty file with a good name", "FORGED00.json", func(*raid) []byte { return nil }},
		{"an id that leads to another volume", "FORGED00.json", func(s *raid) []byte {
			return s.forged(func(r *runpod.HoldRecord) { r.ID, r.Phase = "../../../../othervol/models/config", "lowering" })
		}},
		{"an id that leads up", "FORGED00.json", func(s *raid) []byte {
			return s.forged(func(r *runpod.HoldRecord) { r.ID, r.Phase = "../../../precious", "lowering" })
		}},
		{"a name that is not its id", "FORGED01.json", func(s *raid) []byte { return s.forged(func(*runpod.HoldRecord) {}) }},
		{"in a folder of its own", "sub/FORGED00.json", func(s *raid) []byte { return s.forged(func(*runpod.HoldRecord) {}) }},
		{"a million workers until the year 9999", "FORGED00.json", func(s *raid) []byte {
			return s.forged(func(r *runpod.HoldRecord) {
				r.Workers, r.Renewed = 1e6, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
			})
		}},
		{"renewed in the year 9999", "FORGED00.json", func(s *raid) []byte {
			return s.forged(func(r *runpod.HoldRecord) { r.Renewed = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) })
		}},
		{"less than nothing before", "FORGED00.json", func(s *raid) []byte { return s.forged(func(r *runpod.HoldRecord) { r.Before = -7 }) }},
		{"another endpoint's", "FORGED00.json", func(s *raid) []byte { return s.forged(func(r *runpod.HoldRecord) { r.Endpoint = "other" }) }},
		{"a phase of its own", "FORGED00.json", func(s *raid) []byte { return s.forged(func(r *runpod.HoldRecord) { r.Phase = "x" }) }},
		{"a name that a terminal would obey", "\u202e.json", func(*raid) []byte { return []byte("{}") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
				precious := filepath.Join(s.srv.VolumeDir, "precious.json")
				if err := os.WriteFile(precious, []byte("{}"), 0o666); err != nil {
					t.Fatal(err)
				}
				s.write(tt.file, tt.text(s))
				h := s.hold(s.a, 3)
				s.minimum(3)
				list, err := s.b.Holds(t.Context())
				if len(list) != 1 || !errors.Is(err, runpod.ErrIntegrity) || !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.file)) {
					t.Errorf("%d records, %v", len(list), err)
				}
				s.release(h)
				s.minimum(0)
				s.hold(s.b, 2)
				if err := s.b.Close(); err != nil {
					t.Error(err)
				}
				s.minimum(0)
				if gone, err := s.a.ClearHolds(t.Context(), true); err != nil || len(gone) != 0 {
					t.Errorf("cleared %v, %v", gone, err)
				}
				for _, path := range []string{precious, filepath.Join(s.folder(), tt.file)} {
					if _, err := os.Stat(path); err != nil {
						t.Error(err)
					}
				}
				if !strings.Contains(s.log.String(), "something among the records of holds is none") || strings.ContainsAny(s.log.String(), "\x1b\u202e") {
					t.Errorf("logged: %s", s.log.String())
				}
			})
		})
	}
}

// A record of 300 MB is not read into memory.
func TestHoldRecordOf300MB(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		s.write("FORGED00.json", s.forged(func(*runpod.HoldRecord) {}))
		if err := os.Truncate(filepath.Join(s.folder(), "FORGED00.json"), 300<<20); err != nil {
			t.Fatal(err)
		}
		get := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Path: "*FORGED00*", Times: runpodtest.Always, Do: runpodtest.Delay(0)})
		s.release(s.hold(s.a, 3))
		s.minimum(0)
		if list, err := s.a.Holds(t.Context()); len(list) != 0 || !errors.Is(err, runpod.ErrIntegrity) || !strings.Contains(err.Error(), "FORGED00") {
			t.Errorf("%d records, %v", len(list), err)
		}
		if get.Fired() > 0 {
			t.Errorf("it was asked for %d times, although the listing says how large it is", get.Fired())
		}
	})
}

// A forged hold in good form is a hold: it raises the minimum, to the endpoint's
// maximum at most, and is cleared once it is stale.
func TestForgedHoldRaisesToTheMaximumAtMost(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		s.write("FORGED00.json", s.forged(func(r *runpod.HoldRecord) { r.Workers, r.Phase = 1000, "raising" }))
		h := s.hold(s.a, 1)
		s.minimum(5)
		s.release(h)
		s.minimum(5)
		time.Sleep(2 * time.Minute)
		if gone, err := s.b.ClearHolds(t.Context(), false); err != nil || len(gone) != 1 {
			t.Errorf("cleared %v, %v", gone, err)
		}
		s.minimum(0)
	})
}

// A forged record that restores more than there can be restores the maximum.
func TestForgedHoldRestoresTheMaximumAtMost(t *testing.T) {
	inRaid(t, runpodtest.Config{MinWorkers: 5}, func(t *testing.T, s *raid) {
		s.write("FORGED00.json", s.forged(func(r *runpod.HoldRecord) { r.Before = 1000 }))
		if gone, err := s.b.ClearHolds(t.Context(), true); err != nil || len(gone) != 1 {
			t.Errorf("cleared %v, %v", gone, err)
		}
		s.minimum(5)
	})
}

// Listings have pages of 1,000: every record counts, also the last one.
func TestMoreThanAThousandHolds(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		const n = 1200
		for i := range n {
			s.write(fmt.Sprintf("AAAA%04d.json", i), s.forged(func(r *runpod.HoldRecord) { r.ID, r.Workers = fmt.Sprintf("AAAA%04d", i), 1 }))
		}
		s.write("ZZZZ0000.json", s.forged(func(r *runpod.HoldRecord) { r.ID, r.Workers = "ZZZZ0000", 4 }))
		s.person(4)
		if list, err := s.a.Holds(t.Context()); len(list) != n+1 || err != nil {
			t.Errorf("%d records, %v", len(list), err)
		}
		h := s.hold(s.a, 2)
		s.minimum(4)
		s.release(h)
		s.minimum(4) // the last record holds it
	})
}

// A hold whose record was cleared says so, does not raise the minimum again, and
// does not write its record again.
func TestClearedHoldSaysSo(t *testing.T) {
	for _, how := range []string{"cleared", "deleted", "replaced"} {
		t.Run(how, func(t *testing.T) {
			inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
				h := s.hold(s.a, 3)
				if err := h.Err(); err != nil {
					t.Error(err)
				}
				minimum, records := 0, 0
				files, _ := filepath.Glob(filepath.Join(s.folder(), "*.json"))
				switch how {
				case "cleared":
					if gone, err := s.b.ClearHolds(t.Context(), true); err != nil || len(gone) != 1 {
						t.Fatalf("cleared %v, %v", gone, err)
					}
				case "deleted":
					os.Remove(files[0])
					minimum = 3 // until the hold is released
				case "replaced":
					os.WriteFile(files[0], []byte("{}"), 0o666)
					minimum = 3
				}
				time.Sleep(25 * time.Second)
				if err := h.Err(); err == nil || !strings.Contains(err.Error(), "the record of the hold of 3 workers was taken away") {
					t.Errorf("got %v", err)
				}
				if st := s.a.Stats(); st.HeldWorkers != 0 || st.HeldWorkerSeconds < 60 || st.HeldWorkerSeconds > 75 {
					t.Errorf("Stats says %d workers, %v s", st.HeldWorkers, st.HeldWorkerSeconds)
				}
				if !strings.Contains(s.log.String(), "workers are held no longer") {
					t.Error(s.log.String())
				}
				time.Sleep(10 * time.Minute)
				s.minimum(minimum)
				if list, _ := s.b.Holds(t.Context()); len(list) != records {
					t.Errorf("%d records", len(list))
				}
				down := s.controlDown()
				if err := h.Release(t.Context()); err == nil {
					t.Error("released, without a control plane")
				}
				down.Remove()
				if list, _ := s.b.Holds(t.Context()); len(list) != records {
					t.Errorf("%d records", len(list))
				}
				s.release(h)
				s.minimum(0)
				if err := s.a.Close(); err != nil {
					t.Error(err)
				}
				if h.Err() == nil {
					t.Error("after Release it was never lost")
				}
			})
		})
	}
}

// A record that is cleared while its hold is just renewing it is put back by that,
// and does not stay.
func TestHoldIsClearedWhileItIsRenewed(t *testing.T) {
	for _, took := range []time.Duration{500 * time.Millisecond, 10 * time.Second} {
		t.Run(took.String(), func(t *testing.T) {
			inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
				h := s.hold(s.a, 3)
				put := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Path: "*.json", Times: 1, Do: runpodtest.Delay(took)})
				time.Sleep(20*time.Second + took/10) // the renewal is under way
				if gone, err := s.b.ClearHolds(t.Context(), true); err != nil || len(gone) != 1 || put.Fired() != 1 {
					t.Errorf("cleared %v, %v; %d renewals were slow", gone, err, put.Fired())
				}
				s.minimum(0)
				time.Sleep(time.Minute)
				s.minimum(0)
				s.records(0)
				if h.Err() == nil || s.a.Stats().HeldWorkers != 0 {
					t.Errorf("%v, %d held", h.Err(), s.a.Stats().HeldWorkers)
				}
			})
		})
	}
}

// A slow renewal is no reason to give a hold up.
func TestHoldWithSlowRenewals(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		h := s.hold(s.a, 3)
		s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Path: "*.json", Times: runpodtest.Always, Do: runpodtest.Delay(5 * time.Second)})
		time.Sleep(5 * time.Minute)
		s.minimum(3)
		if err := h.Err(); err != nil {
			t.Error(err)
		}
		s.release(h)
	})
}

// A volume that is away for a minute is no reason to give a hold up.
func TestHoldOutlastsAVolumeThatIsAway(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		h := s.hold(s.a, 3)
		rule := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: runpodtest.Always, Do: runpodtest.Answer(403, "")})
		time.Sleep(time.Minute)
		rule.Remove()
		time.Sleep(10 * time.Minute)
		if err := h.Err(); err != nil || !strings.Contains(s.log.String(), "the hold's record could not be renewed") {
			t.Errorf("%v\n%s", err, s.log.String())
		}
		s.release(s.hold(s.b, 2)) // which would clear a stale record
		s.minimum(3)
	})
}

// A file that is just being replaced may seem to be gone.
func TestHoldRecordThatIsMissingForAMoment(t *testing.T) {
	inRaid(t, runpodtest.Config{}, func(t *testing.T, s *raid) {
		h := s.hold(s.a, 3)
		rule := s.srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Path: "*.json", Times: 1, Do: runpodtest.Answer(404, "")})
		time.Sleep(time.Minute)
		if err := h.Err(); err != nil || rule.Fired() != 1 {
			t.Errorf("%v, the record was missing %d times", err, rule.Fired())
		}
	})
}

// unattached is a client without S3 settings, whose records are files.
func unattached(t *testing.T, srv *runpodtest.Server) *runpod.Client {
	t.Helper()
	c, err := runpod.New(runpod.WithAPIKey(srv.APIKey), runpod.WithEndpoint(srv.EndpointURL), runpod.WithControl(planeOf(t, srv)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// File records are this user's alone, and nothing that a record or a link says
// leads out of their folder.
func TestHoldFilesStayInTheirFolder(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	synctest.Test(t, func(t *testing.T) {
		srv := twin(t, runpodtest.Config{})
		s := &raid{scene: scene{t, srv, unattached(t, srv), unattached(t, srv)}}
		dir := filepath.Join(cache, "runpod-go", "holds", srv.EndpointID)
		h := s.hold(s.a, 2)
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		if len(files) != 1 {
			t.Fatalf("files: %v", files)
		}
		for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, files[0]: 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
			}
		}
		outside := filepath.Join(cache, "outside.json")
		link := s.forged(func(r *runpod.HoldRecord) { r.ID = "LINKED00" })
		if err := os.WriteFile(outside, link, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Symlink(outside, filepath.Join(dir, "LINKED00.json"))
		os.WriteFile(filepath.Join(dir, "FORGED00.json"), s.forged(func(r *runpod.HoldRecord) { r.ID, r.Phase = "../../../outside", "lowering" }), 0o600)
		list, err := s.b.Holds(t.Context())
		if len(list) != 1 || err == nil || !strings.Contains(err.Error(), `"LINKED00.json": it is not a plain file`) || !strings.Contains(err.Error(), "FORGED00") {
			t.Errorf("%d records, %v", len(list), err)
		}
		s.release(h)
		if _, err := s.b.ClearHolds(t.Context(), true); err != nil {
			t.Error(err)
		}
		s.minimum(0)
		if text, err := os.ReadFile(outside); err != nil || !bytes.Equal(text, link) {
			t.Errorf("outside: %q, %v", text, err)
		}
	})
}

// A Hold that HoldWorkers did not make says so.
func TestZeroHold(t *testing.T) {
	for _, h := range []*runpod.Hold{nil, {}} {
		for _, err := range []error{h.Release(t.Context()), h.Err()} {
			if !errors.Is(err, runpod.ErrBadRequest) || !strings.Contains(err.Error(), "HoldWorkers") {
				t.Errorf("got %v", err)
			}
		}
		if h.Workers() != 0 {
			t.Error("it holds workers")
		}
	}
	if !(runpod.HoldRecord{}).Stale() {
		t.Error("a zero record is in force")
	}
}
