package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// servers are the processes that the clients upload to.
type servers struct {
	null, real string // their URLs
	volume     string // the real one's folder
	name       string
	running    []*exec.Cmd
}

func startServers(dir string) (*servers, error) {
	s := &servers{}
	cmd := exec.Command(os.Args[0], "server")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	s.running = append(s.running, cmd)
	lines := bufio.NewScanner(out)
	lines.Scan()
	s.null, s.real, s.name = lines.Text(), lines.Text(), "a server that keeps nothing (versitygw is not installed)"
	if err := s.startVersitygw(dir); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *servers) stop() {
	for _, cmd := range s.running {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// startVersitygw starts it over a folder, if it is installed.
func (s *servers) startVersitygw(dir string) error {
	path, err := exec.LookPath("versitygw")
	if err != nil {
		gopath, _ := exec.Command("go", "env", "GOPATH").Output()
		if path, err = exec.LookPath(filepath.Join(strings.TrimSpace(string(gopath)), "bin", "versitygw")); err != nil {
			return nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	l.Close()
	s.volume = filepath.Join(dir, "volume")
	if err := os.Mkdir(s.volume, 0o700); err != nil {
		return err
	}
	cmd := exec.Command(path, "--port", addr, "--region", region, "--keep-alive", "--quiet", "posix", s.volume)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = append(s.running, cmd)
	s.real, s.name = "http://"+addr, "versitygw over a folder in memory"
	return makeBucket(s.real)
}

// makeBucket tries until the server listens.
func makeBucket(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := s3Client(&settings{url: url, conns: 1}, func(o *s3.Options) { o.RetryMaxAttempts = 100 })
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	return err
}

// clear empties the volume between runs.
func (s *servers) clear() error {
	if s.volume == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(s.volume, bucket))
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.volume, bucket, e.Name())))
	}
	return err
}

// beNullServer is a store that reads everything and keeps nothing. It repeats
// the checksum of a header, as stores do that check it.
func beNullServer() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	s := &nullStore{objects: map[string]*nullObject{}}
	s.buffers.New = func() any { return new([256 << 10]byte) }
	return http.Serve(l, s)
}

// nullStore knows of its objects no more than their sizes and their metadata.
type nullStore struct {
	mu      sync.Mutex
	objects map[string]*nullObject
	buffers sync.Pool
}

type nullObject struct {
	size int64
	own  string
}

// own is the metadata by which the library knows its objects.
const own = "X-Amz-Meta-Runpod-Go-Upload"

func (s *nullStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.discard(r.Body)
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Checksum-Crc") {
			w.Header()[name] = values
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	o := s.objects[r.URL.Path]
	switch {
	case r.Method == "POST" && q.Has("uploads"):
		s.objects[r.URL.Path] = &nullObject{own: r.Header.Get(own)}
		io.WriteString(w, "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>")
	case r.Method == "POST":
		io.WriteString(w, "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>opaque</ETag></CompleteMultipartUploadResult>")
	case r.Method == "PUT" && o != nil:
		o.size += n
		fallthrough
	case r.Method == "PUT":
		w.Header().Set("ETag", `"opaque"`)
	case o != nil:
		w.Header().Set(own, o.own)
		w.Header().Set("Content-Length", strconv.FormatInt(o.size, 10))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *nullStore) discard(r io.Reader) (total int64) {
	buf := s.buffers.Get().(*[256 << 10]byte)
	defer s.buffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		total += int64(n)
		if err != nil {
			return total
		}
	}
}

// proxy passes connections on, later and slower. It gives its URL.
func proxy(ctx context.Context, target string, latency time.Duration, rate int) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go pass(in, strings.TrimPrefix(target, "http://"), latency, rate)
		}
	}()
	return "http://" + l.Addr().String(), nil
}

func pass(in net.Conn, target string, latency time.Duration, rate int) {
	out, err := net.Dial("tcp", target)
	if err != nil {
		in.Close()
		return
	}
	go slowly(out, in, latency/2, rate)
	slowly(in, out, latency/2, rate)
}

// chunk is some bytes and when they are due at the other end.
type chunk struct {
	bytes []byte
	due   time.Time
}

// slowly copies with a delay and at a rate; both ways together make a round
// trip longer by the latency.
func slowly(dst, src net.Conn, delay time.Duration, rate int) {
	defer dst.Close()
	under := make(chan chunk, 1024)
	go func() {
		defer close(under)
		free := time.Now() // when the line has sent what it was given
		for {
			buf := make([]byte, 32<<10)
			n, err := src.Read(buf)
			if n > 0 {
				now := time.Now()
				if free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(free.Add(-10 * time.Millisecond)))
				under <- chunk{buf[:n], free.Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range under {
		time.Sleep(time.Until(c.due))
		if _, err := dst.Write(c.bytes); err != nil {
			src.Close()
			break
		}
	}
	for range under {
	}
}
