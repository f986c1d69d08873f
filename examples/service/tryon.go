package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

const (
	maxPhoto   = 8_000_000 // bytes of one photograph
	maxResult  = 64_000_000
	uploadTime = 2 * time.Minute // for both photographs
	resultTime = 2 * time.Minute
)

// types are the pictures that are taken and given back.
var types = []string{"image/jpeg", "image/png"}

var (
	errForm = &refusal{http.StatusBadRequest, "want a whole form with one file person and one file garment"}
	errSlow = &refusal{http.StatusRequestTimeout, "the photographs came too slowly"}
)

// tryOn takes two photographs, the form's files person and garment, and answers
// with the id of the job. The library reads them from the request while it uploads
// them: a photograph is in no file, and in memory only while it is on its way.
func (s *service) tryOn(w http.ResponseWriter, r *http.Request) {
	parts, err := r.MultipartReader()
	if err != nil {
		refuse(w, r, &refusal{http.StatusUnsupportedMediaType, "want multipart/form-data with the files person and garment"})
		return
	}
	j, ctx, err := s.begin()
	if err != nil {
		skipRest(w, r)
		refuse(w, r, err)
		return
	}
	conn := http.NewResponseController(w)
	f := &form{parts: parts, stop: func() { conn.SetReadDeadline(time.Unix(1, 0)) }, turn: make(chan struct{}, 1), outcome: make(chan error, 2)}
	slow := time.AfterFunc(uploadTime, func() { j.cancel(errSlow) })
	defer slow.Stop()
	stay := context.AfterFunc(r.Context(), func() { j.cancel(errCanceled) }) // who leaves now would never know the id
	go func() {
		defer s.leave(j)
		f.outcome <- s.run(ctx, j, f)
	}()
	if err := <-f.outcome; err != nil {
		if context.Cause(ctx) == errSlow {
			err = errSlow
		} else {
			skipRest(w, r)
		}
		refuse(w, r, err)
		return
	}
	if !stay() {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/jobs/"+j.id+"/events")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "{\"id\":%q}\n", j.id)
}

// skipRest reads what is left of a form that is refused: a browser that is cut off
// while it sends does not see the answer.
func skipRest(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	io.Copy(io.Discard, io.LimitReader(r.Body, 2*maxPhoto+1<<20))
}

// form is the photographs of one request, which come one after the other.
type form struct {
	parts *multipart.Reader
	stop  func()        // ends a read that blocks
	turn  chan struct{} // has a token while the next part may be asked for
	once  sync.Once
	names [2]string

	stored  bool       // the photographs are on the volume
	outcome chan error // nil when they are; then how the job ended
}

// job is the round trip of a form's photographs.
func (f *form) job(j *job) runpod.Job {
	return runpod.Job{
		ID: j.id, Path: "/api/v1/tryon", OnState: j.progress,
		Inputs:     []runpod.JobInput{{Input: f.photo(0)}, {Input: f.photo(1)}},
		Idempotent: true, // a second picture does no harm
		Body: func(in []runpod.Object) (any, error) {
			f.stored = true
			f.outcome <- nil
			return map[string]string{
				f.names[0] + "_image_path": in[0].WorkerPath(),
				f.names[1] + "_image_path": in[1].WorkerPath(),
			}, nil
		},
		Output: func(answer *runpod.Response) (string, error) {
			var made struct {
				Path string `json:"result_image_path"`
			}
			err := answer.JSON(&made)
			return made.Path, err
		},
	}
}

// photo is the input that the form's n-th file is. The first one is read to its
// end before the second one begins.
func (f *form) photo(n int) runpod.Input {
	return runpod.Reader("photograph", -1, func(ctx context.Context) (io.ReadCloser, error) {
		if n == 1 {
			select {
			case <-f.turn:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		return f.next(n)
	})
}

func (f *form) next(n int) (io.ReadCloser, error) {
	part, err := f.parts.NextPart()
	if err != nil {
		return nil, errForm
	}
	f.names[n] = part.FormName()
	if !slices.Contains([]string{"person", "garment"}, f.names[n]) || n == 1 && f.names[0] == f.names[1] {
		return nil, errForm
	}
	p := &photo{form: f, r: bufio.NewReader(io.LimitReader(part, maxPhoto+1))}
	head, err := p.r.Peek(512)
	if err != nil && err != io.EOF {
		return nil, errForm
	}
	if !slices.Contains(types, http.DetectContentType(head)) {
		return nil, &refusal{http.StatusUnsupportedMediaType, "the " + f.names[n] + " is neither a JPEG nor a PNG photograph"}
	}
	return p, nil
}

// photo is a photograph on its way.
type photo struct {
	*form
	r    *bufio.Reader
	size int
	end  atomic.Bool // nothing more is read of it
}

func (p *photo) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.size += n; p.size > maxPhoto {
		p.end.Store(true)
		return 0, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("a photograph has more than %d MB", maxPhoto/1_000_000)}
	}
	if err == io.EOF {
		p.end.Store(true)
		p.once.Do(func() { p.turn <- struct{}{} })
	} else if err != nil {
		err = errForm
	}
	return n, err
}

// Close ends a Read that waits for the browser.
func (p *photo) Close() error {
	if !p.end.Load() {
		p.stop()
	}
	return nil
}

// result streams a job's picture from the volume.
func (s *service) result(w http.ResponseWriter, r *http.Request, j *job) {
	last := j.last()
	if last.Phase != phaseDone {
		refuse(w, r, &refusal{http.StatusConflict, "there is no picture: the job is " + last.Phase})
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(resultTime)) // or who stalls delays a shutdown
	made, err := s.client.Stat(r.Context(), last.Result)
	if err == nil && made.Size > maxResult {
		err = fmt.Errorf("%s has %d bytes", last.Result, made.Size)
	}
	out := &picture{w: w, size: made.Size}
	if err == nil {
		_, err = s.client.Download(r.Context(), last.Result, out)
	}
	switch {
	case err != nil && out.begun:
		panic(http.ErrAbortHandler) // so that nobody takes the beginning for the whole
	case err != nil:
		refuse(w, r, err)
	}
}

// picture is a response that can only be a picture: what a worker writes is not to
// become a page of this site.
type picture struct {
	w     http.ResponseWriter
	size  int64
	begun bool
}

func (p *picture) Write(b []byte) (int, error) {
	if !p.begun {
		kind := http.DetectContentType(b)
		if !slices.Contains(types, kind) {
			return 0, fmt.Errorf("the worker made %s, which is no picture", kind)
		}
		p.w.Header().Set("Content-Type", kind)
		p.w.Header().Set("Content-Length", strconv.FormatInt(p.size, 10))
		p.begun = true
	}
	return p.w.Write(b)
}
