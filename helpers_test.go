package runpod

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gpuburst/runpod-go/internal/line"
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
		name := "results/" + filepath.Base(in.Person) + ".jpg"
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

// content is n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func stored(t *testing.T, srv *runpodtest.Server, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(srv.VolumeDir, key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const testPart = 64 << 10

// smallParts makes an upload in parts of what fits a test.
func smallParts(c *config) error {
	c.partSize = testPart
	return nil
}

// smallBuffers does the same for streams.
func smallBuffers(c *Client, blocks int) {
	c.volume.uploads.buffers = line.NewBuffers(int64(blocks)*testPart, testPart)
}

// onlyForward reads but does not seek.
func onlyForward(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// multipartETag is what an object has for an ETag that was sent in such parts.
func multipartETag(data []byte, partSize int) string {
	var sums []byte
	n := 0
	for ; len(data) > 0; n++ {
		part := data[:min(partSize, len(data))]
		sum := md5.Sum(part)
		sums, data = append(sums, sum[:]...), data[len(part):]
	}
	return fmt.Sprintf("%x-%d", md5.Sum(sums), n)
}

// unfinished are the uploads that the gateway has begun and not ended, and the
// files that they left.
func unfinished(t *testing.T, srv *runpodtest.Server, c *Client) []string {
	t.Helper()
	synctest.Wait() // the gateway tidies up
	left := remains(t, srv, ".s3compat_uploads")
	ctx := context.WithoutCancel(t.Context())
	tr := c.volume.gw.newTask(ctx, "list uploads").transfer(ctx)
	out, err := perform(tr, c.volume.gw.client.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: &c.volume.gw.bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range out.Uploads {
		left = append(left, *u.Key)
	}
	return left
}

func s3Error(code string) string {
	return "<Error><Code>" + code + "</Code><Message>in the gateway's words</Message></Error>"
}

func uploadOf(key string, n int) func(*testing.T, *runpodtest.Server, *Client) error {
	return func(t *testing.T, srv *runpodtest.Server, c *Client) error {
		data := content(n)
		_, err := c.Upload(t.Context(), key, Bytes("b", data))
		if err == nil && !bytes.Equal(stored(t, srv, key), data) {
			return errors.New("stored something else")
		}
		return err
	}
}

// manyUploads uploads n small files at once.
func manyUploads(n int) func(*testing.T, *runpodtest.Server, *Client) error {
	return func(t *testing.T, srv *runpodtest.Server, c *Client) error {
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = uploadOf(fmt.Sprint("many/", i), 1000)(t, srv, c) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

func put(t *testing.T, srv *runpodtest.Server, key string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(srv.VolumeDir, key), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pipeListener is a network in memory, without the simulation behind it.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// gatewayBubble runs a test in virtual time against a gateway that is a handler.
func gatewayBubble(t *testing.T, h http.HandlerFunc, f func(t *testing.T, c *Client), opts ...Option) {
	t.Helper()
	withServer(t, h, f, append([]Option{WithS3Endpoint("http://s3.test", "EU-RO-1", "vol"), WithS3Credentials("user_x", "rps_secret")}, opts...)...)
}

// withServer runs a test in virtual time against an endpoint that is a handler.
func withServer(t *testing.T, h http.HandlerFunc, f func(t *testing.T, c *Client), opts ...Option) {
	t.Helper()
	clearEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(context.Background())
		srv := &http.Server{Handler: h, BaseContext: func(net.Listener) context.Context { return ctx }}
		go srv.Serve(l)
		c, err := New(append([]Option{WithAPIKey("the-key"), WithEndpoint("http://endpoint.test"),
			WithHTTPTransport(&http.Transport{}), WithDialContext(l.dial)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			cancel()
			c.Close()
			srv.Shutdown(context.Background())
		}()
		f(t, c)
	})
}

// inputsLeft lists the files on the simulated volume whose keys were made up for
// inputs.
func inputsLeft(t *testing.T, srv *runpodtest.Server) []string {
	t.Helper()
	return slices.DeleteFunc(remains(t, srv, "."), func(path string) bool {
		return filepath.Dir(path) != filepath.Clean(srv.VolumeDir) || !madeUpKey.MatchString(filepath.Base(path))
	})
}
