package burst

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Target is an endpoint with its volume, and what each client needs to know of it.
type Target struct {
	Name      string
	Simulated bool
	Speed     float64
	Seed      uint64
	QueueWait Seconds
	Min       int // workers at the least, as far as it is known

	// UploadEvery lets one job's uploads of a plain client through in so long,
	// as the upload pool of the first stress test did. Zero: no limit.
	UploadEvery Seconds

	EndpointURL, APIKey          string
	S3URL, Region, Bucket        string
	AccessKeyID, SecretAccessKey string
	Dial                         func(ctx context.Context, network, addr string) (net.Conn, error)

	server  *runpodtest.Server
	started time.Time
}

// Presets are the endpoints of the three stress tests, by name.
var Presets = map[string]struct {
	Preset      func() runpodtest.Preset
	Concurrency int     // as in the test
	UploadEvery Seconds // see Target
}{
	"run1": {runpodtest.StressRun1, 30, 24},
	"run2": {runpodtest.StressRun2, 15, 0},
	"run3": {runpodtest.StressRun3, 15, 0},
}

// Simulate starts an endpoint in this process. The caller closes the target. Of
// a zero Config the working times are those of runpodtest: 10 to 15 s.
func Simulate(name string, twin Twin) (*Target, error) {
	cfg := twin.Config
	if cfg.Handler == nil {
		cfg.Handler = workload
		if cfg.Preset.String() == "" && cfg.ServiceTime.String() == (runpodtest.Dist{}).String() {
			cfg.ServiceTime = runpodtest.Range(10*time.Second, 15*time.Second)
		}
	}
	s, err := runpodtest.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	return &Target{
		Name: name, UploadEvery: twin.UploadEvery, Simulated: true, Speed: cmp.Or(cfg.Speed, 1), Seed: cfg.Seed, Min: cfg.MinWorkers,
		QueueWait:   Seconds(cmp.Or(cfg.QueueWait, 2*time.Minute).Seconds()),
		EndpointURL: s.EndpointURL, APIKey: s.APIKey,
		S3URL: s.S3URL, Region: s.Region, Bucket: s.Bucket,
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey,
		Dial: s.DialContext, server: s, started: time.Now(),
	}, nil
}

// Close ends a simulated endpoint.
func (t *Target) Close() {
	if t.server != nil {
		t.server.Close()
	}
}

// account brings the simulated endpoint's own records into a run's. The
// endpoint is closed first, so that they are whole.
func (t *Target) account(c clock, r *Recorder) {
	if t.server == nil {
		return
	}
	t.server.Close()
	shift := c.at(t.started)
	at := func(d time.Duration) Seconds { return Seconds(d.Seconds()) + shift }
	for _, q := range t.server.Requests() {
		job, err := strconv.Atoi(q.Path[strings.LastIndexByte(q.Path, '/')+1:])
		if err != nil {
			continue
		}
		one := Request{Job: job - 1, Arrived: at(q.Arrived), Ended: at(q.Ended), Worker: q.Worker, Status: q.Status, Outcome: string(q.Outcome)}
		if q.Worker != "" {
			one.Started = at(q.Started)
		}
		r.add(line{Request: &one})
	}
	for _, w := range t.server.Workers() {
		one := Worker{ID: w.ID, End: w.End, Served: w.Served, Starting: Seconds(w.Starting.Seconds()),
			Busy: Seconds(w.Busy.Seconds()), Idle: Seconds(w.Idle.Seconds()), Begun: at(w.Begun)}
		if w.Ready > 0 || w.Begun == 0 {
			one.Ready = at(w.Ready)
		}
		one.Stopped = at(w.Stopped)
		r.add(line{Worker: &one})
	}
}

// path is where a job's request goes. The simulated endpoint's account shall
// tell which job a request was, so there the path ends in its number; the
// workload takes any.
func (t *Target) path(w *Work) string {
	if !t.Simulated {
		return w.Path
	}
	return strings.TrimSuffix(w.Path, "/") + "/" + strconv.Itoa(w.Index+1)
}

// Live is the endpoint that the environment names. getenv is os.Getenv.
func Live(getenv func(string) string) (*Target, error) {
	t := &Target{
		Speed: 1, QueueWait: 120, Dial: (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		EndpointURL: strings.TrimSuffix(getenv("RUNPOD_ENDPOINT_URL"), "/"), APIKey: getenv("RUNPOD_API_KEY"),
		S3URL: getenv("RUNPOD_S3_ENDPOINT_URL"), Region: getenv("RUNPOD_S3_REGION"), Bucket: getenv("RUNPOD_S3_BUCKET_NAME"),
		AccessKeyID: getenv("RUNPOD_S3_ACCESS_KEY_ID"), SecretAccessKey: getenv("RUNPOD_S3_SECRET_ACCESS_KEY"),
	}
	if id := getenv("RUNPOD_ENDPOINT_ID"); id != "" {
		named := "https://" + id + ".api.runpod.ai"
		if t.EndpointURL != "" && t.EndpointURL != named {
			return nil, fmt.Errorf("RUNPOD_ENDPOINT_ID and RUNPOD_ENDPOINT_URL name two endpoints, %s and %s: unset the one that is not meant", named, t.EndpointURL)
		}
		t.EndpointURL = named
	}
	t.Name = "live: " + t.EndpointURL
	var missing []string
	for _, v := range []struct{ name, value string }{
		{"RUNPOD_API_KEY", t.APIKey},
		{"RUNPOD_ENDPOINT_ID (or RUNPOD_ENDPOINT_URL)", t.EndpointURL},
		{"RUNPOD_S3_ENDPOINT_URL", t.S3URL},
		{"RUNPOD_S3_REGION", t.Region},
		{"RUNPOD_S3_BUCKET_NAME", t.Bucket},
		{"RUNPOD_S3_ACCESS_KEY_ID", t.AccessKeyID},
		{"RUNPOD_S3_SECRET_ACCESS_KEY", t.SecretAccessKey},
	} {
		if v.value == "" {
			missing = append(missing, v.name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("the environment lacks %s", strings.Join(missing, ", "))
	}
	return t, nil
}

// volumeMount is where a worker sees the network volume.
const volumeMount = "/runpod-volume/"

// workload is the program of a simulated worker: it wants paths of objects in
// its request, at any depth, and answers with the path of a copy of the first.
func workload(w runpodtest.Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		var body any
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil && !errors.Is(err, io.EOF) {
			reply(rw, http.StatusUnprocessableEntity, map[string]any{"detail": "JSON decode error: " + err.Error()})
			return
		}
		paths := volumePaths(body)
		if len(paths) == 0 {
			reply(rw, http.StatusUnprocessableEntity, map[string]any{"detail": "no path under " + volumeMount + " in the request"})
			return
		}
		result, err := copyResult(w.VolumeDir, paths[0], req.URL.Path)
		if err != nil {
			reply(rw, http.StatusBadRequest, map[string]any{"detail": "cannot read " + paths[0]})
			return
		}
		reply(rw, http.StatusOK, map[string]any{"result_image_path": volumeMount + result})
	})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// volumePaths is every string in a JSON value that names an object.
func volumePaths(v any) (paths []string) {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, volumeMount) {
			paths = append(paths, v)
		}
	case []any:
		for _, one := range v {
			paths = append(paths, volumePaths(one)...)
		}
	case map[string]any:
		for _, one := range v {
			paths = append(paths, volumePaths(one)...)
		}
		slices.Sort(paths)
	}
	return paths
}

func copyResult(volume, from, name string) (key string, err error) {
	data, err := os.ReadFile(filepath.Join(volume, filepath.FromSlash(strings.TrimPrefix(from, volumeMount))))
	if err != nil {
		return "", err
	}
	key = "results/" + strings.ReplaceAll(strings.Trim(name, "/"), "/", "-") + ".bin"
	path := filepath.Join(volume, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return key, os.WriteFile(path, data, 0o644)
}
