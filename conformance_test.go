package runpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// testStore is an S3 store to be tested: how to reach it with options beside, and
// a folder for files.
type testStore struct {
	client func(opts ...Option) (*Client, error)
	dir    string
}

// conformanceCase checks one thing that the transfers promise, on any store.
type conformanceCase struct {
	name  string
	opts  []Option
	check func(ctx context.Context, c *Client, dir string) error
}

func (c conformanceCase) run(ctx context.Context, s testStore) error {
	cl, err := s.client(append([]Option{WithPartSize(minPartSize), WithS3Conns(4)}, c.opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		return err
	}
	return c.check(ctx, cl, dir)
}

// thereAndBack uploads an input, and downloads it in both ways.
func thereAndBack(ctx context.Context, c *Client, key string, in Input, data []byte, dir string) error {
	obj, err := c.Upload(ctx, key, in)
	if err != nil {
		return err
	}
	var got bytes.Buffer
	back, err := c.Download(ctx, key, &got)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "back")
	if _, err := c.DownloadFile(ctx, key, path); err != nil {
		return err
	}
	file, err := os.ReadFile(path)
	if obj != back || !bytes.Equal(got.Bytes(), data) || !bytes.Equal(file, data) {
		return fmt.Errorf("%d bytes went as %+v and came as %+v, %d and %d bytes, %v", len(data), obj, back, got.Len(), len(file), err)
	}
	return c.Delete(ctx, key)
}

// damaged is a client whose first connection flips a byte of what it sends.
func damaged(c *config) error {
	var once sync.Once
	c.dial = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		once.Do(func() { conn = &flipping{conn, 200_000} })
		return conn, err
	}
	return nil
}

var conformanceCases = []conformanceCase{
	{name: "small objects", check: func(ctx context.Context, c *Client, dir string) error {
		return errors.Join(thereAndBack(ctx, c, "a/b/c.txt", Bytes("x", []byte("hello")), []byte("hello"), dir),
			thereAndBack(ctx, c, "empty", Bytes("x", nil), nil, dir))
	}},
	{name: "parts from a file", check: func(ctx context.Context, c *Client, dir string) error {
		data, path := content(12<<20+5), filepath.Join(dir, "in")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		return thereAndBack(ctx, c, "big", File(path), data, dir)
	}},
	{name: "parts with CRC32C", opts: []Option{WithChecksum(ChecksumCRC32C)}, check: func(ctx context.Context, c *Client, dir string) error {
		data := content(12 << 20)
		return errors.Join(thereAndBack(ctx, c, "big", Bytes("b", data), data, dir), thereAndBack(ctx, c, "small", Bytes("b", data[:9]), data[:9], dir))
	}},
	{name: "a stream of unknown length", check: func(ctx context.Context, c *Client, dir string) error {
		data := content(19 << 20)
		return errors.Join(thereAndBack(ctx, c, "stream", Reader("s", -1, onlyForward(data)), data, dir),
			thereAndBack(ctx, c, "stream", Reader("s", -1, onlyForward(data[:9])), data[:9], dir))
	}},
	{name: "an id in the metadata is kept", check: func(ctx context.Context, c *Client, dir string) error {
		if _, err := c.Upload(ctx, "big", Bytes("b", content(6<<20))); err != nil {
			return err
		}
		if _, own, err := headObject(ctx, c.volume.gw.newTask(ctx, "look"), "big"); err != nil || own == "" {
			return fmt.Errorf("id %q, %w", own, err)
		}
		return c.Delete(ctx, "big")
	}},
	{name: "a flipped byte is refused, MD5", opts: []Option{damaged}, check: flipped(1 << 20)},
	{name: "a flipped byte is refused, CRC32C", opts: []Option{damaged, WithChecksum(ChecksumCRC32C)}, check: flipped(1 << 20)},
	{name: "a flipped byte in a part is refused, MD5", opts: []Option{damaged}, check: flipped(11 << 20)},
	{name: "a flipped byte in a part is refused, CRC32C", opts: []Option{damaged, WithChecksum(ChecksumCRC32C)}, check: flipped(11 << 20)},
	{name: "keys arrive byte for byte", check: func(ctx context.Context, c *Client, dir string) error {
		var errs []error
		for _, key := range []string{"a b", "#", "a=b&c?d", "1+1", "100%", "%41", "ü/ö/ß", "😀", strings.Repeat("n", 255), "~!$'()*,;:@[]{}|^`\"<>"} {
			errs = append(errs, thereAndBack(ctx, c, "keys/"+key, Bytes("x", []byte(key)), []byte(key), dir))
		}
		return errors.Join(errs...)
	}},
	{name: "listing over pages, and deleting", opts: []Option{WithS3Conns(8)}, check: func(ctx context.Context, c *Client, dir string) error {
		from := filepath.Join(dir, "many")
		var want []string
		for i := range 1005 {
			name := fmt.Sprintf("%d/%04d", i%3, i)
			if err := errors.Join(os.MkdirAll(filepath.Join(from, fmt.Sprint(i%3)), 0o700), os.WriteFile(filepath.Join(from, name), []byte(name), 0o600)); err != nil {
				return err
			}
			want = append(want, "many/"+name)
		}
		slices.Sort(want)
		if up, err := c.UploadDir(ctx, from, "many"); err != nil || !slices.Equal(keysIn(up), want) {
			return fmt.Errorf("%d uploaded, %w", len(up), err)
		}
		var got []string
		for obj, err := range c.List(ctx, "many/") {
			if err != nil {
				return err
			}
			if !strings.HasSuffix(obj.Key, "/") {
				got = append(got, obj.Key)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%d of %d listed", len(got), len(want))
		}
		if down, err := c.DownloadDir(ctx, "many/1", filepath.Join(dir, "back")); err != nil || !slices.Equal(keysIn(down), want[335:670]) {
			return fmt.Errorf("%d downloaded, %w", len(down), err)
		}
		if n, err := c.DeleteAll(ctx, "many/"); err != nil || n < len(want) {
			return fmt.Errorf("%d deleted, %w", n, err)
		}
		for obj, err := range c.List(ctx, "many/") {
			if err == nil && strings.HasSuffix(obj.Key, "/") {
				continue // an empty folder, which some gateways list
			}
			return fmt.Errorf("left: %s, %w", obj.Key, err)
		}
		return nil
	}},
	{name: "what is there is not sent again", opts: []Option{WithSkipExisting()}, check: func(ctx context.Context, c *Client, dir string) error {
		for _, data := range [][]byte{content(1000), content(11 << 20)} {
			key, err := ContentKey(ctx, "once", Bytes("photo.jpg", data))
			if err != nil {
				return err
			}
			first, err1 := c.Upload(ctx, key, Bytes("photo.jpg", data))
			again, err2 := c.Upload(ctx, key, Bytes("photo.jpg", data))
			if err := errors.Join(err1, err2); err != nil || first.Existed || !again.Existed {
				return fmt.Errorf("%+v, then %+v, %w", first, again, err)
			}
		}
		_, err := c.DeleteAll(ctx, "once/")
		return err
	}},
	{name: "an upload that was cut off is gone on with", check: func(ctx context.Context, c *Client, dir string) error {
		c.volume.uploads.resume = newResumeDir(dir, "s")
		data := content(30 << 20)
		short, cancel := context.WithCancel(ctx)
		if _, err := c.Upload(short, "cut", cutOff(data, 12<<20, cancel)); !errors.Is(err, context.Canceled) || len(mustRead(dir)) != 1 {
			return fmt.Errorf("not cut off: %v, %v", err, mustRead(dir))
		}
		before := c.Stats().S3Attempts
		if _, err := c.Upload(ctx, "cut", Bytes("b", data)); err != nil {
			return err
		}
		if n := c.Stats().S3Attempts - before; n > 3+6 {
			return fmt.Errorf("%d requests", n)
		}
		var got bytes.Buffer
		if _, err := c.Download(ctx, "cut", &got); err != nil || !bytes.Equal(got.Bytes(), data) {
			return fmt.Errorf("came back otherwise: %w", err)
		}
		return c.Delete(ctx, "cut")
	}},
	{name: "a cancelled upload leaves nothing", check: func(ctx context.Context, c *Client, dir string) error {
		short, cancel := context.WithCancel(ctx)
		data := content(30 << 20)
		if _, err := c.Upload(short, "cancelled", cutOff(data, 6<<20, cancel)); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("not cancelled: %w", err)
		}
		t := c.volume.gw.newTask(ctx, "list uploads").transfer(ctx)
		// Of the key: MinIO lists no uploads but those of one key.
		out, err := perform(t, c.volume.gw.client.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: &c.volume.gw.bucket, Prefix: aws.String("cancelled")})
		if err != nil || len(out.Uploads) > 0 {
			return fmt.Errorf("left behind: %+v, %w", out, err)
		}
		return nil
	}},
	{name: "refusals are told apart", check: func(ctx context.Context, c *Client, dir string) error {
		if _, err := c.Download(ctx, "nothing/here", io.Discard); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("no object: %w", err)
		}
		return c.Delete(ctx, "nothing/here")
	}},
	{name: "a wrong secret is refused", opts: []Option{WithS3Credentials("user_conformance", "rps_wrong")}, check: func(ctx context.Context, c *Client, dir string) error {
		if _, err := c.Upload(ctx, "k", Bytes("k", nil)); !errors.Is(err, ErrUnauthorized) || attempts(err) != s3Forbidden {
			return fmt.Errorf("got %w", err)
		}
		return nil
	}},
}

func flipped(size int) func(context.Context, *Client, string) error {
	return func(ctx context.Context, c *Client, dir string) error {
		data := content(size)
		if err := thereAndBack(ctx, c, "flipped", Bytes("b", data), data, dir); err != nil {
			return err
		}
		if parts := int64(size / minPartSize); c.Stats().S3Attempts < parts+5 {
			return fmt.Errorf("%d requests: nothing was sent again", c.Stats().S3Attempts)
		}
		return nil
	}
}

// cutOff is an input whose upload is cancelled while it still has bytes to send:
// when all of it was read once, for the checksums, and so much again.
func cutOff(data []byte, sent int64, cancel func()) Input {
	var read atomic.Int64
	return Reader("r", int64(len(data)), func(context.Context) (io.ReadCloser, error) {
		return &counted{seekable{bytes.NewReader(data)}, func(n int) {
			if read.Add(int64(n)) > int64(len(data))+sent {
				cancel()
			}
		}}, nil
	})
}

type counted struct {
	seekable
	moved func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.seekable.Read(p)
	c.moved(n)
	return n, err
}

func mustRead(dir string) []os.DirEntry {
	entries, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	return entries
}

// testConformance names each case.
func testConformance(t *testing.T, s testStore) {
	for _, c := range conformanceCases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConformanceOfTheSimulation(t *testing.T) {
	cfg := warm()
	cfg.Loopback = true
	srv := newServer(t, cfg)
	testConformance(t, testStore{dir: t.TempDir(), client: func(opts ...Option) (*Client, error) {
		return New(append([]Option{WithS3Endpoint(srv.S3URL, srv.Region, srv.Bucket), WithS3Credentials(srv.AccessKeyID, srv.SecretAccessKey), fast}, opts...)...)
	}})
}

// fast makes waiting short: real time passes here.
func fast(c *config) error {
	c.policy = DefaultRetryPolicy().Scaled(0.02)
	c.policy.Stall *= 50
	return nil
}

// s3Server is an S3 server that the tests start where it is installed.
type s3Server struct {
	install string // the package that go install takes; the last name is the program's
	args    func(addr, dir string) []string
	env     []string
}

// versitygw is the closest thing to a network volume's gateway that can be
// had: an S3 server over a folder.
var versitygw = s3Server{
	install: "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
	args: func(addr, dir string) []string {
		return []string{"--port", addr, "--region", "EU-RO-1", "--keep-alive", "--quiet", "posix", dir}
	},
	env: []string{"ROOT_ACCESS_KEY=user_conformance", "ROOT_SECRET_KEY=rps_conformance"},
}

// minio keeps objects in a format of its own, and shares no code with the
// others. It is AGPL, and run as a program of its own. Building it takes minutes,
// so that .ci/run leaves it out.
var minio = s3Server{
	install: "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
	args: func(addr, dir string) []string {
		return []string{"server", "--address", addr, "--quiet", dir}
	},
	env: []string{"MINIO_ROOT_USER=user_conformance", "MINIO_ROOT_PASSWORD=rps_conformance", "MINIO_REGION=EU-RO-1", "MINIO_BROWSER=off"},
}

func (g s3Server) program() string {
	name, _, _ := strings.Cut(g.install[strings.LastIndex(g.install, "/")+1:], "@")
	return name
}

// start gives a way to make clients of it, for a bucket of their own.
func (g s3Server) start(t *testing.T) func(opts ...Option) (*Client, error) {
	t.Helper()
	path, err := exec.LookPath(g.program())
	if err != nil {
		gopath, _ := exec.Command("go", "env", "GOPATH").Output()
		if path, err = exec.LookPath(filepath.Join(strings.TrimSpace(string(gopath)), "bin", g.program())); err != nil {
			t.Skipf("%s is not installed (go install %s)", g.program(), g.install)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var said bytes.Buffer
	cmd := exec.Command(path, g.args(addr, t.TempDir())...)
	cmd.Env = append(os.Environ(), g.env...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", g.program(), &said)
		}
	})
	client := func(opts ...Option) (*Client, error) {
		return New(append([]Option{WithS3Endpoint("http://"+addr, "EU-RO-1", "vol"), WithS3Credentials("user_conformance", "rps_conformance"), fast}, opts...)...)
	}
	c, err := client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for start := time.Now(); ; { // until it listens, which takes long on a busy machine
		tr := c.volume.gw.newTask(t.Context(), "make a bucket").transfer(t.Context())
		_, err := perform(tr, c.volume.gw.client.CreateBucket, &s3.CreateBucketInput{Bucket: &c.volume.gw.bucket})
		if err == nil {
			return client
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal(tr.failure(err))
		}
	}
}

func TestConformanceOfVersitygw(t *testing.T) {
	testConformance(t, testStore{dir: t.TempDir(), client: versitygw.start(t)})
}

func TestConformanceOfMinIO(t *testing.T) {
	testConformance(t, testStore{dir: t.TempDir(), client: minio.start(t)})
}
