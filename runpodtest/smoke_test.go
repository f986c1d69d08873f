package runpodtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// newTwin starts a server and a plain HTTP client for it; both end with the test.
func newTwin(t testing.TB, cfg Config) (*Server, *http.Client) {
	t.Helper()
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: srv.DialContext}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, &http.Client{Transport: tr}
}

func newS3(srv *Server, hc *http.Client) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(srv.S3URL), Region: srv.Region, UsePathStyle: true, HTTPClient: hc,
		Credentials:                credentials.NewStaticCredentialsProvider(srv.AccessKeyID, srv.SecretAccessKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		Retryer:                    aws.NopRetryer{},
	})
}

// got is one answer, read whole.
type got struct {
	status int
	worker string
	body   string
	header http.Header
	took   time.Duration
	err    error
}

func send(srv *Server, hc *http.Client, method, path, body string, header ...string) got {
	req, _ := http.NewRequest(method, srv.EndpointURL+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+srv.APIKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	start := time.Now()
	resp, err := hc.Do(req)
	if err != nil {
		return got{err: err, took: time.Since(start)}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header.Get(workerHeader), string(b), resp.Header, time.Since(start), err}
}

func TestSmokeBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{Seed: 1, ColdStart: Fixed(60 * time.Second), ServiceTime: Fixed(12 * time.Second)})
		var wg sync.WaitGroup
		sem := make(chan bool, 15)
		for range 30 {
			sem <- true
			wg.Go(func() {
				g := send(srv, hc, "POST", "/api/v1/tryon", "{}")
				t.Log(g.status, g.took, g.worker, g.err)
				<-sem
			})
		}
		wg.Wait()
		t.Logf("%+v", srv.Stats())
	})
}

func TestSmokeS3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, hc := newTwin(t, Config{})
		c := newS3(srv, hc)
		ctx := context.Background()
		put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &srv.Bucket, Key: aws.String("a/b c#=.txt"), Body: bytes.NewReader([]byte("hello"))})
		if err != nil {
			t.Fatal(err)
		}
		get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &srv.Bucket, Key: aws.String("a/b c#=.txt"), Range: aws.String("bytes=1-3"), IfMatch: put.ETag})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(get.Body)
		t.Log(*put.ETag, *get.ETag, string(b), get.LastModified)
	})
}
