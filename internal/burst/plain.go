package burst

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// plainOptions tell the two plain clients apart: naive takes the first answer
// for the last word, docs does what Runpod's docs advise: 3 tries at least, 5 to
// 10 s apart, and 10 tries for the volume.
type plainOptions struct {
	tries   int
	pause   Seconds // between tries
	s3Tries int     // 0: as the AWS SDK comes
}

// plain is the client that one writes first: plain net/http, and the AWS SDK with
// as many connections as it opens.
type plain struct {
	plainOptions
	s     *session
	http  *http.Client
	s3    *http.Client // below store
	store *s3.Client

	mu   sync.Mutex
	next time.Time // when the upload pool lets the next job through
}

func openPlain(s *session, o plainOptions) *plain {
	p := &plain{plainOptions: o, s: s}
	p.http = &http.Client{Transport: &http.Transport{DialContext: s.dials.DialContext}}
	p.s3 = &http.Client{Transport: awshttp.NewBuildableClient().GetTransport()}
	p.s3.Transport.(*http.Transport).DialContext = s.dials.DialContext
	t := s.target
	p.store = s3.New(s3.Options{
		BaseEndpoint: aws.String(t.S3URL), Region: t.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(t.AccessKeyID, t.SecretAccessKey, ""),
		HTTPClient:  p.s3, RetryMaxAttempts: o.s3Tries, Retryer: retry.NewStandard(func(so *retry.StandardOptions) {
			so.MaxAttempts = cmp.Or(o.s3Tries, retry.DefaultMaxAttempts)
		}),
	})
	return p
}

func (p *plain) close() {
	p.http.CloseIdleConnections()
	p.s3.CloseIdleConnections()
}

func (p *plain) do(ctx context.Context, j *job) error {
	if err := p.wait(ctx); err != nil {
		return err
	}
	keys, err := p.upload(ctx, j)
	defer p.remove(ctx, keys)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	j.uploaded()
	answer, err := p.call(ctx, j, keys)
	if err != nil {
		return err
	}
	j.answered(answer)
	return p.fetch(ctx, j, answer)
}

// wait is for the upload pool, where it is narrow: one job after another.
func (p *plain) wait(ctx context.Context) error {
	every := p.s.clock.wall(p.s.target.UploadEvery)
	p.mu.Lock()
	begin := p.next
	if now := time.Now(); begin.Before(now) {
		begin = now
	}
	p.next = begin.Add(every)
	p.mu.Unlock()
	t := time.NewTimer(time.Until(begin))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// upload puts all files at once, each on a connection of its own.
func (p *plain) upload(ctx context.Context, j *job) ([]string, error) {
	keys, errs := make([]string, len(j.work.Files)), make([]error, len(j.work.Files))
	var wg sync.WaitGroup
	for i, f := range j.work.Files {
		keys[i] = fmt.Sprintf("inputs/%s-%d/%d-%s", p.s.id, j.work.Index+1, i, f.Name)
		wg.Go(func() { errs[i] = p.put(ctx, j, keys[i], f) })
	}
	wg.Wait()
	return keys, errors.Join(errs...)
}

func (p *plain) put(ctx context.Context, j *job, key string, f File) error {
	body, err := f.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	size, err := body.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	_, err = p.store.PutObject(ctx, &s3.PutObjectInput{Bucket: &p.s.target.Bucket, Key: &key, Body: body})
	if err == nil {
		p.s.progress.BytesUp.Add(size)
		j.mu.Lock()
		j.rec.BytesUp += size
		j.mu.Unlock()
	}
	return err
}

// remove deletes a job's inputs, also after Ctrl-C.
func (p *plain) remove(ctx context.Context, keys []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, key := range keys {
		// The job's outcome stands; what is left lies under inputs/.
		_, _ = p.store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.s.target.Bucket, Key: &key})
	}
}

// call sends a job's request, again after a pause where it fails.
func (p *plain) call(ctx context.Context, j *job, keys []string) ([]byte, error) {
	paths := make([]string, len(keys))
	for i, key := range keys {
		paths[i] = volumeMount + key
	}
	var body []byte
	if j.work.Body != nil {
		var err error
		if body, err = json.Marshal(fill(j.work.Body, paths)); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		answer, err := p.attempt(ctx, j, body, try == p.tries)
		if err == nil || try == p.tries || ctx.Err() != nil {
			return answer, err
		}
		if !p.s.clock.sleep(ctx, p.pause) {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// attempt sends the request once and records it.
func (p *plain) attempt(ctx context.Context, j *job, body []byte, last bool) ([]byte, error) {
	method := cmp.Or(j.work.Method, http.MethodPost)
	req, err := http.NewRequestWithContext(ctx, method, p.s.target.EndpointURL+p.s.target.path(&j.work), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.s.target.APIKey)
	req.Header.Set("Content-Type", "application/json")
	p.s.progress.AtEndpoint.Add(1)
	a := Attempt{Start: j.clock.now(), Verdict: "deliver"}
	answer, err := p.send(req, &a)
	a.End = j.clock.now()
	p.s.progress.AtEndpoint.Add(-1)
	p.s.progress.answer(a.Status, a.Worker)
	if err != nil {
		a.Reason = err.Error()
		if a.Verdict = "send again"; last {
			a.Verdict = "give up"
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rec.Attempts = append(j.rec.Attempts, a)
	return answer, err
}

func (p *plain) send(req *http.Request, a *Attempt) ([]byte, error) {
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a.Status, a.Worker = resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id")
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 31<<20))
	if err != nil {
		return nil, err
	}
	if a.Status < 200 || a.Status > 299 {
		return nil, fmt.Errorf("status %d: %.200s", a.Status, bytes.TrimSpace(answer))
	}
	return answer, nil
}

// fetch writes a job's result to its file.
func (p *plain) fetch(ctx context.Context, j *job, answer []byte) error {
	w := &j.work
	if w.Output == "" {
		if w.SaveTo == "" {
			return nil
		}
		return os.WriteFile(w.SaveTo, answer, 0o644)
	}
	path, err := w.output(answer)
	if err != nil {
		return err
	}
	key := strings.TrimPrefix(path, volumeMount)
	j.mu.Lock()
	j.rec.Output = key
	j.mu.Unlock()
	if w.SaveTo == "" {
		return nil
	}
	out, err := p.store.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.s.target.Bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	defer out.Body.Close()
	f, err := os.Create(w.SaveTo)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, out.Body)
	j.mu.Lock()
	j.rec.BytesDown = n
	j.mu.Unlock()
	return errors.Join(err, f.Close())
}
