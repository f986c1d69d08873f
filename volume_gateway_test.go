package runpod

import (
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"github.com/aws/aws-sdk-go-v2/aws"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// 30 callers with 60 files on a pool of 10 open at most 10 connections in all.
func TestPoolIsBounded(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				for j := range 2 {
					key := fmt.Sprintf("f/%d-%d", i, j)
					if _, err := c.Upload(t.Context(), key, Bytes(key, content(20_000))); err != nil {
						t.Error(err)
					}
					if _, err := c.Download(t.Context(), key, io.Discard); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		st := srv.Stats().S3Conns
		if st.Opened > 10 || st.Peak > 10 {
			t.Errorf("%d connections opened, %d at once", st.Opened, st.Peak)
		}
		if mine := c.Stats(); mine.S3ConnsOpened != st.Opened || mine.Uploads != 60 || mine.Downloads != 60 {
			t.Errorf("the client counts %+v", mine)
		}
	}, WithS3Conns(10))
}

func TestOneConnectionIsEnough(t *testing.T) {
	var most atomic.Int64
	inBubble(t, coldEndpoint(1), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, err := range c.RunAll(t.Context(), tryonJobs(t.TempDir(), 6)) {
			if err != nil {
				t.Error(err)
			}
		}
		if most.Load() != 1 {
			t.Errorf("%d connections at once", most.Load())
		}
	}, WithS3Conns(1), WithMaxInFlight(6), s3ConnsAtOnce(&most))
}

// s3ConnsAtOnce tells how many connections to the gateway a client has had at
// once. How many it has opened in all says less: net/http gives one up, now and
// then, whose answer came before it had noticed that the whole body was out. And
// the server learns of the end of one a moment after the next may have begun.
func s3ConnsAtOnce(most *atomic.Int64) Option {
	return func(c *config) error {
		dial := c.dial
		var mu sync.Mutex
		var open int64
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil || !strings.HasPrefix(addr, "s3") {
				return conn, err
			}
			mu.Lock()
			defer mu.Unlock()
			open++
			most.Store(max(most.Load(), open))
			return &endNoted{conn, sync.OnceFunc(func() {
				mu.Lock()
				defer mu.Unlock()
				open--
			})}, nil
		}
		return nil
	}
}

// endNoted is a connection whose end is noted.
type endNoted struct {
	net.Conn
	ended func()
}

func (c *endNoted) Close() error {
	c.ended()
	return c.Conn.Close()
}

// A place is taken before the attempt's clock starts, and leaving the line
// costs nobody else anything.
func TestWaitForAPlaceEndsWithTheContext(t *testing.T) {
	cfg := warm()
	cfg.S3.BytesPerSecond = 1000
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "slow", Bytes("slow", content(300_000))); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := c.Download(t.Context(), "slow", io.Discard) // 5 minutes
			done <- err
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Upload(ctx, "x", Bytes("x", []byte("x"))); !errors.Is(err, context.DeadlineExceeded) || attempts(err) != 0 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("left after %s", took)
		}
		if obj, err := c.Upload(t.Context(), "x", Bytes("x", []byte("x"))); err != nil {
			t.Errorf("a wait longer than Stall failed: %+v, %v", obj, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}, WithS3Conns(1))
}

// The gateway was seen to date its objects in "UTC", which fails the SDK.
func TestUTCDates(t *testing.T) {
	cfg := warm()
	cfg.S3.UTCDates = true
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		if _, err := c.Upload(t.Context(), "k", Bytes("k", []byte("k"))); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Download(t.Context(), "k", io.Discard); err != nil {
			t.Error(err)
		}
	})
}

// HTTP/2 uploads were seen to stall: the pool speaks HTTP/1.1 also where more
// is on offer.
func TestGatewayHTTP2IsNotSpoken(t *testing.T) {
	var spoke []string
	store := &nullStore{objects: map[string]*nullObject{}}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spoke = append(spoke, r.Proto)
		store.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	c, err := New(WithS3Endpoint(srv.URL, "EU-RO-1", "vol"), WithS3Credentials("user_x", "rps_x"),
		WithHTTPTransport(srv.Client().Transport.(*http.Transport)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Upload(t.Context(), "k", Bytes("b", []byte("b"))); err != nil || len(spoke) != 1 || spoke[0] != "HTTP/1.1" {
		t.Errorf("spoke %v, %v", spoke, err)
	}
}

// The pool narrows to what the gateway bears, and is wide again when nothing
// is refused any more.
func TestGatewayPoolAdapts(t *testing.T) {
	cfg := warm()
	cfg.S3.TransientAbove = 6
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		slow := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
		if err := manyUploads(300)(t, srv, c); err != nil {
			t.Fatal(err)
		}
		attempts := c.Stats().S3Attempts
		t.Logf("16 connections, 300 uploads: %d requests, limit now %d", attempts, c.volume.gw.pool.Limit())
		if attempts > 300*5/4 {
			t.Errorf("%d requests for 300 uploads", attempts)
		}
		slow.Remove()
		for i := range 200 { // one at a time: nothing is refused
			if err := uploadOf(fmt.Sprint(i), 10)(t, srv, c); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.volume.gw.pool.Limit(); got != 16 {
			t.Errorf("the limit is %d again, want 16", got)
		}
	}, WithS3Conns(16))
}

// Thirty small files are not stuck behind the sixty parts of a large one, and
// the large one goes on meanwhile.
func TestPoolIsFair(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "PUT", Times: runpodtest.Always, Do: runpodtest.Delay(time.Second)})
		start := time.Now()
		var all sync.WaitGroup
		var big time.Duration
		all.Go(func() {
			if _, err := c.Upload(t.Context(), "big", Bytes("big", content(60*testPart))); err != nil {
				t.Error(err)
			}
			big = time.Since(start)
		})
		time.Sleep(3500 * time.Millisecond)
		var small sync.WaitGroup
		for i := range 30 {
			small.Go(func() {
				if _, err := c.Upload(t.Context(), fmt.Sprint("small/", i), Bytes("s", []byte("s"))); err != nil {
					t.Error(err)
				}
			})
		}
		small.Wait()
		done := time.Since(start)
		all.Wait()
		if done > 12*time.Second {
			t.Errorf("the small files were there after %s", done)
		}
		if big > 24*time.Second { // 90 requests of a second each, 4 at a time
			t.Errorf("the large one was there after %s", big)
		}
	}, smallParts, WithS3Conns(4))
}

// An edge that rewrites headers on the way does no harm: signed is what botocore
// signs.
func TestEdgeThatRewritesHeaders(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
		to, err := url.Parse(srv.S3URL)
		if err != nil {
			t.Fatal(err)
		}
		back := &http.Transport{DialContext: srv.DialContext, DisableCompression: true}
		defer back.CloseIdleConnections()
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		edge := &http.Server{Handler: &httputil.ReverseProxy{Transport: back, Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
			for name := range r.Out.Header {
				if strings.HasPrefix(name, "Amz-Sdk-") {
					r.Out.Header.Del(name)
				}
			}
			r.Out.Header.Set("Accept-Encoding", "br")
			r.Out.Header.Set("Via", "1.1 edge")
			r.Out.Header.Set("User-Agent", "edge")
		}}}
		go edge.Serve(l)
		defer edge.Shutdown(context.Background())
		c := newClient(t, srv, smallParts, WithDialContext(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, to.Hostname()) {
				return l.dial(ctx, network, addr)
			}
			return srv.DialContext(ctx, network, addr)
		}))
		defer c.Close()
		data := content(3 * testPart)
		for key, in := range map[string]Input{"whole": Bytes("b", data[:99]), "parts": Bytes("b", data)} {
			if _, err := c.Upload(t.Context(), key, in); err != nil {
				t.Error(err)
			}
			if _, err := c.DownloadFile(t.Context(), key, filepath.Join(t.TempDir(), "f")); err != nil {
				t.Error(err)
			}
		}
		if n, err := c.DeleteAll(t.Context(), "p"); n != 1 || err != nil {
			t.Errorf("%d deleted, %v", n, err)
		}
	})
}

// Nothing but these headers may be signed: whatever else is on a request may be
// changed on the way, or be added below the SDK.
func TestWhatIsSigned(t *testing.T) {
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
		_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		list, _, _ = strings.Cut(list, ",")
		for name := range strings.SplitSeq(list, ";") {
			if name != "host" && name != "content-md5" && name != "content-type" && !strings.HasPrefix(name, "x-amz-") {
				t.Errorf("%s %s: %s is signed", r.Method, r.URL, name)
			}
		}
		for _, name := range []string{"host", "x-amz-date", "x-amz-content-sha256"} {
			if !slices.Contains(strings.Split(list, ";"), name) {
				t.Errorf("%s %s: %s is not signed", r.Method, r.URL, name)
			}
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("X-Amz-Checksum-Crc32c", r.Header.Get("X-Amz-Checksum-Crc32c"))
		switch q := r.URL.Query(); {
		case q.Has("list-type"):
			io.WriteString(w, "<ListBucketResult/>")
		case q.Has("uploads"):
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case q.Has("uploadId") && r.Method == "POST":
			io.WriteString(w, "<CompleteMultipartUploadResult/>")
		}
	}, func(t *testing.T, c *Client) {
		c.Upload(t.Context(), "k", Bytes("k", []byte("k")))
		c.Upload(t.Context(), "k", Bytes("k", content(2*testPart)))
		c.Download(t.Context(), "k", io.Discard)
		c.DownloadFile(t.Context(), "k", filepath.Join(t.TempDir(), "f"))
		c.Delete(t.Context(), "k")
		for range c.List(t.Context(), "") {
		}
	}, smallParts)
}

// Somebody on the way who knows no Expect is asked without it from then on.
func TestExpectIsRefused(t *testing.T) {
	for _, status := range []int{417, 400} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			refused := 0
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Expect") != "" {
					refused++
					w.WriteHeader(status)
					return
				}
				sum := md5.New()
				io.Copy(sum, r.Body)
				w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum.Sum(nil)))
			}, func(t *testing.T, c *Client) {
				if _, err := c.Upload(t.Context(), "k", Bytes("k", content(9<<20))); err != nil {
					t.Error(err)
				}
				first := refused // more than once, if the connection was closed before the answer was read
				if _, err := c.Upload(t.Context(), "k", Bytes("k", content(9<<20))); err != nil {
					t.Error(err)
				}
				if first == 0 || refused != first {
					t.Errorf("refused %d times, then %d", first, refused-first)
				}
			}, WithChecksum(ChecksumMD5), WithPartSize(16<<20))
		})
	}
}

// tokens is a provider whose first token has expired.
type tokens struct {
	asked, good int
	token       string // "": one that says how often it was asked
}

func (p *tokens) Retrieve(context.Context) (aws.Credentials, error) {
	p.asked++
	token := cmp.Or(p.token, fmt.Sprint("token", p.asked))
	return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "rps_secret", SessionToken: token}, nil
}

// An expired session token is asked for once more, and no secret is shown.
func TestExpiredToken(t *testing.T) {
	for good, want := range map[int]error{2: nil, 99: ErrUnauthorized} {
		p := &tokens{good: good}
		gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
			if token := r.Header.Get("X-Amz-Security-Token"); token != fmt.Sprint("token", good) {
				w.WriteHeader(400)
				fmt.Fprintf(w, "<Error><Code>ExpiredToken</Code><Message>%s, %s</Message></Error>", token, r.Header.Get("Authorization"))
				return
			}
		}, func(t *testing.T, c *Client) {
			err := c.Delete(t.Context(), "k")
			if !errors.Is(err, want) || p.asked != 2 {
				t.Errorf("the provider was asked %d times: %v", p.asked, err)
			}
			if err != nil && (strings.Contains(err.Error(), "token2") || !strings.Contains(err.Error(), "fresh session token")) {
				t.Errorf("got %v", err)
			}
		}, WithS3CredentialsProvider(aws.NewCredentialsCache(p)))
	}
}

// Credentials that no header can carry end it before anything is sent.
func TestCredentialsWithALineFeed(t *testing.T) {
	_, err := New(WithS3Credentials("user_x\n", "rps_x"))
	if e, ok := err.(*Error); !ok || e.Field != "WithS3Credentials" {
		t.Errorf("got %v", err)
	}
	gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {}, func(t *testing.T, c *Client) {
		err := c.Delete(t.Context(), "k")
		if !errors.Is(err, ErrUnauthorized) || c.Stats().S3Attempts != 0 || strings.Contains(err.Error(), "odd") {
			t.Errorf("got %v after %d attempts", err, c.Stats().S3Attempts)
		}
	}, WithS3CredentialsProvider(&tokens{token: "odd\ntoken"}))
}
