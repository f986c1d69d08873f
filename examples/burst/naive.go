package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// naive is the client that one writes first: a semaphore around plain net/http
// and the AWS SDK as it comes. It takes the first answer for the last word.
type naive struct {
	t     target
	store *s3.Client
	http  *http.Client
	s3    *http.Client // below store
	dials dialCounter
}

func openNaive(t target, _ burst) (client, error) {
	n := &naive{t: t, http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}}
	n.s3 = n.dials.client()
	n.store = s3.New(s3.Options{
		BaseEndpoint: aws.String(t.s3URL),
		Region:       t.region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(t.accessKeyID, t.secretAccessKey, ""),
		HTTPClient:   n.s3,
	})
	return n, nil
}

func (n *naive) connections() (opened, peak int) {
	n.dials.mu.Lock()
	defer n.dials.mu.Unlock()
	return n.dials.opened, n.dials.peak
}

func (n *naive) close() {
	n.http.CloseIdleConnections()
	n.s3.CloseIdleConnections()
}

// run bursts the jobs and returns the outcome of each one that was begun.
func (n *naive) run(ctx context.Context, b burst, m *meter) []outcome {
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		outcomes []outcome
		places   = make(chan struct{}, b.concurrency)
	)
	for i := range b.requests {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		m.begin()
		wg.Go(func() {
			o := n.job(ctx, b, i)
			<-places
			m.end(o)
			mu.Lock()
			defer mu.Unlock()
			outcomes = append(outcomes, o)
		})
	}
	wg.Wait()
	return outcomes
}

// job is upload, call, fetch, each tried once.
func (n *naive) job(ctx context.Context, b burst, i int) outcome {
	o := outcome{Job: i + 1}
	clock := n.t.clock()
	o.Err = n.try(ctx, b, i, clock, &o)
	o.Total = clock.now()
	o.Stopped = o.Err != nil && ctx.Err() != nil
	return o
}

func (n *naive) try(ctx context.Context, b burst, i int, clock stopwatch, o *outcome) error {
	keys, err := n.upload(ctx, b, i)
	defer n.remove(ctx, keys)
	o.Upload = clock.now()
	if err != nil {
		return err
	}
	o.Attempts = 1
	answer, worker, err := n.call(ctx, keys)
	o.Worker = worker
	o.split(clock.now()-o.Upload, answer.Work)
	if err != nil {
		return err
	}
	o.Picture = b.picture(i)
	return n.fetch(ctx, strings.TrimPrefix(answer.Result, volumeMount), o.Picture)
}

// upload puts both photos at once, each on a connection of its own.
func (n *naive) upload(ctx context.Context, b burst, i int) ([2]string, error) {
	person, garment := b.album.pick(i)
	var (
		wg   sync.WaitGroup
		keys [2]string
		errs [2]error
	)
	for k, p := range []photo{person, garment} {
		keys[k] = fmt.Sprintf("inputs/naive-%s-%d/%d-%s", b.id, i+1, k, p.name)
		wg.Go(func() { errs[k] = n.put(ctx, keys[k], p) })
	}
	wg.Wait()
	return keys, errors.Join(errs[:]...)
}

func (n *naive) put(ctx context.Context, key string, p photo) error {
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = n.store.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(n.t.bucket), Key: aws.String(key), Body: f})
	return err
}

func (n *naive) call(ctx context.Context, keys [2]string) (tryonAnswer, string, error) {
	var answer tryonAnswer
	body, err := json.Marshal(tryonRequest{Person: volumeMount + keys[0], Garment: volumeMount + keys[1]})
	if err != nil {
		return answer, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.t.endpointURL+tryonPath, bytes.NewReader(body))
	if err != nil {
		return answer, "", err
	}
	req.Header.Set("Authorization", "Bearer "+n.t.apiKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.http.Do(req)
	if err != nil {
		return answer, "", err
	}
	defer resp.Body.Close()
	worker := resp.Header.Get("X-Runpod-Worker-Id")
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s", resp.Status, bytes.TrimSpace(text))
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	return answer, worker, err
}

func (n *naive) fetch(ctx context.Context, key, to string) error {
	got, err := n.store.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(n.t.bucket), Key: aws.String(key)})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, got.Body)
	return errors.Join(err, f.Close())
}

// remove deletes the inputs, as far as that works.
func (n *naive) remove(ctx context.Context, keys [2]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, key := range keys {
		n.store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(n.t.bucket), Key: aws.String(key)})
	}
}

// dialCounter counts the connections that an HTTP client opens.
type dialCounter struct {
	mu                 sync.Mutex
	open, opened, peak int
}

// client is an HTTP client as the AWS SDK makes it by default, counted.
func (d *dialCounter) client() *http.Client {
	t := awshttp.NewBuildableClient().GetTransport()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		d.count(1)
		return &countedConn{Conn: conn, end: sync.OnceFunc(func() { d.count(-1) })}, nil
	}
	return &http.Client{Transport: t}
}

func (d *dialCounter) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += n
	d.opened += max(n, 0)
	d.peak = max(d.peak, d.open)
}

type countedConn struct {
	net.Conn
	end func()
}

func (c *countedConn) Close() error {
	c.end()
	return c.Conn.Close()
}
