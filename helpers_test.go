package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// raceDetector is whether this test was built with it.
var raceDetector bool

// inBubble runs a test in virtual time against a simulated service, with a
// Client of its own. A goroutine that outlives the two fails the test: the
// bubble waits for every one it has started.
func inBubble(t *testing.T, cfg runpodtest.Config, f func(t *testing.T, srv *runpodtest.Server, c *Client), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, cfg)
		f(t, srv, newClient(t, srv, opts...))
	})
}

func newServer(t testing.TB, cfg runpodtest.Config) *runpodtest.Server {
	t.Helper()
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

func newClient(t testing.TB, srv *runpodtest.Server, opts ...Option) *Client {
	t.Helper()
	c, err := New(append([]Option{
		WithAPIKey(srv.APIKey),
		WithEndpoint(srv.EndpointURL),
		WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket),
		WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey),
		WithDialContext(srv.DialContext),
		WithHTTPTransport(&http.Transport{}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// warm is an endpoint that is not the point of the test.
func warm() runpodtest.Config {
	return runpodtest.Config{MinWorkers: 2, ServiceTime: runpodtest.Fixed(time.Second)}
}

// tryon is the service of the stress tests, without its GPU: it reads the two
// inputs from the volume, writes a result there, and answers with its path.
func tryon(w runpodtest.Worker) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Person, Garment string }
		json.NewDecoder(r.Body).Decode(&in)
		person, err1 := os.ReadFile(filepath.Join(w.VolumeDir, strings.TrimPrefix(in.Person, "/runpod-volume/")))
		garment, err2 := os.ReadFile(filepath.Join(w.VolumeDir, strings.TrimPrefix(in.Garment, "/runpod-volume/")))
		rw.Header().Set("Content-Type", "application/json")
		if err1 != nil || err2 != nil || in.Person == "" {
			rw.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(rw, `{"detail":[{"loc":["body","person"],"msg":"no such picture"}]}`)
			return
		}
		name := "results/" + filepath.Base(filepath.Dir(in.Person)) + ".jpg"
		os.MkdirAll(filepath.Join(w.VolumeDir, "results"), 0o777)
		os.WriteFile(filepath.Join(w.VolumeDir, name), append(append(person, '+'), garment...), 0o666)
		fmt.Fprintf(rw, `{"result_image_path":"/runpod-volume/%s"}`, name)
	})
}

func tryonJob(dir string, i int) Job {
	return Job{
		ID: fmt.Sprint("job-", i),
		Inputs: []JobInput{
			{Input: Bytes("person.jpg", fmt.Appendf(nil, "person %d", i))},
			{Input: Bytes("garment.jpg", fmt.Appendf(nil, "garment %d", i))},
		},
		Path: "/api/v1/tryon",
		Body: func(in []Object) (any, error) {
			return map[string]string{"person": in[0].WorkerPath(), "garment": in[1].WorkerPath()}, nil
		},
		Output: func(r *Response) (string, error) {
			var out struct {
				Path string `json:"result_image_path"`
			}
			return out.Path, r.JSON(&out)
		},
		SaveTo: filepath.Join(dir, fmt.Sprint(i, ".jpg")),
	}
}

// attempts is what an error says of how often it was tried.
func attempts(err error) int {
	if e, ok := err.(*Error); ok {
		return len(e.Attempts)
	}
	return 0
}

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// remains lists the files on the simulated volume under a folder.
func remains(t *testing.T, srv *runpodtest.Server, folder string) []string {
	t.Helper()
	var names []string
	filepath.Walk(filepath.Join(srv.VolumeDir, folder), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			names = append(names, path)
		}
		return nil
	})
	return names
}

// fieldOf is the Field of an *Error; "" for other errors.
func fieldOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Field
	}
	return ""
}
