package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/burst/tryon"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// pipes is a network in memory with one listener.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// bench is a service on a simulated endpoint, and a browser's connections to it.
type bench struct {
	*testing.T
	sim    *runpodtest.Server
	s      *service
	server *http.Server
	http   *http.Client
}

const places = 12

// inBubble starts a service in virtual time.
func inBubble(t *testing.T, cfg runpodtest.Config, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := runpodtest.NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		b := &bench{T: t, sim: sim}
		defer b.start()()
		f(b)
	})
}

// start starts a service on the bench's endpoint; what it returns ends it.
func (b *bench) start() (end func()) {
	opts, err := optionsFor(b.sim, 1)
	if err != nil {
		b.Fatal(err)
	}
	if b.s, err = newService(places, opts...); err != nil {
		b.Fatal(err)
	}
	network := newPipes()
	server, transport := b.s.server(), &http.Transport{DialContext: network.dial}
	b.server, b.http = server, &http.Client{Transport: transport}
	served := make(chan struct{})
	go func() { server.Serve(network); close(served) }()
	client := b.s.client
	return func() {
		transport.CloseIdleConnections()
		server.Close()
		<-served
		client.Close()
	}
}

func sample(t testing.TB, name string) []byte {
	data, err := fs.ReadFile(tryon.Photos(), name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// file is a file of a form.
type file struct {
	name string
	data []byte
}

func (b *bench) photos() []file {
	return []file{{"person", sample(b, "person/astronaut.jpg")}, {"garment", sample(b, "garment/coffee.jpg")}}
}

func formOf(t testing.TB, files ...file) (body *bytes.Buffer, kind string) {
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for _, f := range files {
		part, err := w.CreateFormFile(f.name, "photograph")
		if err == nil {
			_, err = part.Write(f.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return body, w.FormDataContentType()
}

// do sends a request and returns the answer with its body.
func (b *bench) do(method, path string, body io.Reader, header ...string) (*http.Response, string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, "http://service"+path, body)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp, string(text)
}

func (b *bench) send(files ...file) (*http.Response, string) {
	b.Helper()
	body, kind := formOf(b, files...)
	return b.do("POST", "/tryon", body, "Content-Type", kind)
}

// accepted sends two photographs and returns the job's id.
func (b *bench) accepted() string {
	b.Helper()
	resp, text := b.send(b.photos()...)
	var answer struct{ ID string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != http.StatusAccepted {
		b.Fatalf("%s: %s", resp.Status, text)
	}
	return answer.ID
}

// events reads a job's states to the end of the stream, or until stop says so.
func (b *bench) events(id, after string, stop func(state) bool) (all []state) {
	b.Helper()
	req, _ := http.NewRequestWithContext(b.Context(), "GET", "http://service/jobs/"+id+"/events", nil)
	req.Header.Set("Last-Event-ID", after)
	resp, err := b.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.Fatalf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	number := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			number = n
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var s state
		if err := json.Unmarshal([]byte(data), &s); err != nil || number != strconv.Itoa(s.ID) {
			b.Fatalf("event %s: %s: %v", number, data, err)
		}
		if all = append(all, s); stop != nil && stop(s) {
			return all
		}
	}
	return all
}

// phases are the phases of states, each as often as it came anew.
func phases(all []state) (list []string) {
	for _, s := range all {
		if name := s.Phase; len(list) == 0 || list[len(list)-1] != name {
			list = append(list, name)
		}
	}
	return list
}

// onVolume are the objects of the volume.
func (b *bench) onVolume() (keys []string) {
	b.Helper()
	err := filepath.WalkDir(b.sim.VolumeDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
			name, _ := filepath.Rel(b.sim.VolumeDir, path)
			keys = append(keys, name)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return keys
}

// picture wants a job's result to be a picture.
func (b *bench) picture(id string) {
	b.Helper()
	resp, text := b.do("GET", "/jobs/"+id+"/result", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/jpeg" || resp.ContentLength != int64(len(text)) {
		b.Fatalf("the result: %s, %s, %d bytes of %d", resp.Status, resp.Header.Get("Content-Type"), len(text), resp.ContentLength)
	}
	if _, err := jpeg.Decode(strings.NewReader(text)); err != nil {
		b.Errorf("the result: %v", err)
	}
}

// A job on a cold endpoint says where it is, and goes on to its picture.
func TestColdJob(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		began := time.Now()
		id := b.accepted()
		all := b.events(id, "", nil)
		if took := time.Since(began); took < 2*time.Minute || took > 5*time.Minute {
			b.Errorf("it took %v", took)
		}
		order := strings.Join(phases(all), " ")
		if !strings.HasPrefix(order, "uploading ") || !strings.Contains(order, "sent cold ") || !strings.HasSuffix(order, "sent done") {
			b.Errorf("its phases: %s", order)
		}
		for i, s := range all {
			if i > 0 && s.ID <= all[i-1].ID {
				b.Errorf("event %d comes after %d", s.ID, all[i-1].ID)
			}
			switch s.Phase {
			case "sent":
				if s.Attempt == 0 || s.Since.IsZero() {
					b.Errorf("sent: %+v", s)
				}
			case "cold":
				if s.Attempt == 0 || s.Next.Before(began.Add(2*time.Minute)) {
					b.Errorf("cold: %+v", s)
				}
			case "done":
				if s.Result != "/jobs/"+id+"/result" {
					b.Errorf("done: %+v", s)
				}
			}
		}
		b.picture(id)
		synctest.Wait()
		if keys := b.onVolume(); len(keys) != 2 || !strings.HasPrefix(keys[0], "results/") || keys[1] != recordFolder+id {
			b.Errorf("on the volume: %q; want the picture and the record", keys)
		}
	})
}

// A stream that breaks off goes on behind the last event that arrived.
func TestLastEventID(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		id := b.accepted()
		first := b.events(id, "", func(s state) bool { return s.Phase == "cold" })
		cold := first[len(first)-1]
		rest := b.events(id, strconv.Itoa(cold.ID), nil)
		if rest[0].ID <= cold.ID || !rest[len(rest)-1].ended() {
			b.Errorf("after event %d: %+v", cold.ID, rest)
		}
		last := strconv.Itoa(rest[len(rest)-1].ID)
		if resp, _ := b.do("GET", "/jobs/"+id+"/events", nil, "Last-Event-ID", last); resp.StatusCode != http.StatusNoContent {
			b.Errorf("after the last event: %s", resp.Status)
		}
		if again := b.events(id, "", nil); again[len(again)-1].Phase != "done" {
			b.Errorf("from the beginning, later: %+v", again)
		}
	})
}

// What is no pair of photographs is refused, and leaves nothing behind.
func TestRefusals(t *testing.T) {
	inBubble(t, runpodtest.Config{}, func(b *bench) {
		good := b.photos()
		person, garment := good[0], good[1]
		large := file{"garment", append(slices.Clone(garment.data), make([]byte, maxPhoto)...)}
		for _, c := range []struct {
			name   string
			files  []file
			status int
			want   string
		}{
			{"nothing", nil, 400, "one file person and one file garment"},
			{"one", []file{person}, 400, "one file person and one file garment"},
			{"twice the same", []file{person, person}, 400, "one file person and one file garment"},
			{"another name", []file{person, {"hat", garment.data}}, 400, "one file person and one file garment"},
			{"a text", []file{{"person", []byte("<html>")}, garment}, 415, "the person is neither a JPEG nor a PNG"},
			{"an empty file", []file{person, {"garment", nil}}, 415, "the garment is neither"},
			{"too large", []file{person, large}, 413, "more than 8 MB"},
			{"too large, first", []file{large, person}, 413, "more than 8 MB"},
		} {
			if resp, text := b.send(c.files...); resp.StatusCode != c.status || !strings.Contains(text, c.want) {
				b.Errorf("%s: %s: %s", c.name, resp.Status, text)
			}
		}
		body, kind := formOf(b, good...)
		for _, c := range []struct {
			name, method, path string
			header             []string
			status             int
		}{
			{"no form", "POST", "/tryon", nil, 415},
			{"another site's page", "POST", "/tryon", []string{"Content-Type", kind, "Sec-Fetch-Site", "cross-site"}, 403},
			{"no such job", "GET", "/jobs/" + strings.Repeat("A", 26) + "/events", nil, 404},
			{"no id", "GET", "/jobs/..%2f..%2fsecret/result", nil, 404},
			{"no such job to delete", "DELETE", "/jobs/" + strings.Repeat("A", 26), nil, 404},
			{"another method", "PUT", "/tryon", nil, 405},
		} {
			if resp, text := b.do(c.method, c.path, bytes.NewReader(body.Bytes()), c.header...); resp.StatusCode != c.status {
				b.Errorf("%s: %s: %s", c.name, resp.Status, text)
			}
		}
		time.Sleep(2 * leftover)
		b.s.sweep(b.Context()) // an upload that was given up may be stored after it was deleted
		if keys := b.onVolume(); len(keys) != 0 || b.sim.Stats().Requests != 0 || b.s.running() != 0 {
			b.Errorf("left: %q, %d requests, %d places", keys, b.sim.Stats().Requests, b.s.running())
		}
	})
}

// A photograph of the largest size that is taken goes through.
func TestLargestPhotograph(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		good := b.photos()
		for i := range good {
			good[i].data = append(good[i].data, make([]byte, maxPhoto-len(good[i].data))...)
		}
		if resp, text := b.send(good...); resp.StatusCode != http.StatusAccepted {
			b.Errorf("%s: %s", resp.Status, text)
		}
	})
}

func TestFull(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		ids := make([]string, places)
		for i := range ids {
			ids[i] = b.accepted()
		}
		large := b.photos()
		large[1].data = append(large[1].data, make([]byte, maxPhoto/2)...) // the answer must come through
		if resp, text := b.send(large...); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "10" {
			b.Errorf("%s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), text)
		}
		b.events(ids[0], "", nil)
		synctest.Wait()
		b.accepted()
	})
}

// A browser that stalls in the middle of a photograph loses its place.
func TestSlowForm(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		body, kind := formOf(b, b.photos()...)
		r, w := io.Pipe()
		go w.Write(body.Bytes()[:1000])
		began := time.Now()
		resp, text := b.do("POST", "/tryon", r, "Content-Type", kind)
		if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took != uploadTime {
			b.Errorf("after %v: %s: %s", took, resp.Status, text)
		}
		w.Close()
		synctest.Wait()
		if keys := b.onVolume(); len(keys) != 0 || b.s.running() != 0 {
			b.Errorf("left: %q, %d places", keys, b.s.running())
		}
	})
}

// A browser that leaves before it has the id leaves no job behind.
func TestLeaving(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		body, kind := formOf(b, b.photos()...)
		ctx, leave := context.WithCancel(b.Context())
		r, w := io.Pipe()
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://service/tryon", r)
		req.Header.Set("Content-Type", kind)
		go func() {
			w.Write(body.Bytes()[:body.Len()-1000])
			leave()
		}()
		if _, err := b.http.Do(req); !errors.Is(err, context.Canceled) {
			b.Fatal(err)
		}
		w.Close()
		time.Sleep(2 * leftover)
		b.s.sweep(b.Context())
		if keys := b.onVolume(); len(keys) != 0 || b.s.running() != 0 || b.sim.Stats().Requests != 0 {
			b.Errorf("left: %q, %d places, %d requests", keys, b.s.running(), b.sim.Stats().Requests)
		}
	})
}

func TestDelete(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		id := b.accepted()
		if resp, text := b.do("GET", "/jobs/"+id+"/result", nil); resp.StatusCode != http.StatusConflict {
			b.Errorf("the result of a job under way: %s: %.80q", resp.Status, text)
		}
		all := b.events(id, "", func(s state) bool {
			if s.Phase == "cold" {
				if resp, _ := b.do("DELETE", "/jobs/"+id, nil); resp.StatusCode != http.StatusNoContent {
					b.Errorf("canceling: %s", resp.Status)
				}
			}
			return false
		})
		if last := all[len(all)-1]; last.Phase != phaseCanceled {
			b.Errorf("the last event: %+v", last)
		}
		synctest.Wait()
		if keys := b.onVolume(); len(keys) != 0 || b.s.running() != 0 {
			b.Errorf("left: %q, %d places", keys, b.s.running())
		}

		id = b.accepted()
		b.events(id, "", nil)
		b.picture(id)
		if resp, _ := b.do("DELETE", "/jobs/"+id, nil); resp.StatusCode != http.StatusNoContent {
			b.Errorf("deleting: %s", resp.Status)
		}
		if resp, _ := b.do("GET", "/jobs/"+id+"/result", nil); resp.StatusCode != http.StatusNotFound || len(b.onVolume()) != 0 {
			b.Errorf("a deleted picture: %s; left: %q", resp.Status, b.onVolume())
		}
	})
}

// A job that fails says why in words for a person, later too.
func TestFailedJob(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		b.sim.Fault(runpodtest.Fault{Times: runpodtest.Always, Do: runpodtest.WorkerAnswer(422, `{"detail":"secret of the worker"}`)})
		id := b.accepted()
		for range 2 {
			all := b.events(id, "", nil)
			last := all[len(all)-1]
			if last.Phase != phaseFailed || last.Error != "The photographs could not be used. Try others." {
				b.Errorf("the last event: %+v", last)
			}
			synctest.Wait()
		}
		if resp, text := b.do("GET", "/jobs/"+id+"/result", nil); resp.StatusCode != http.StatusConflict {
			b.Errorf("its result: %s: %.80q", resp.Status, text)
		}
	})
}

// What a worker made that is no picture does not become a page of the site.
func TestResultIsAPicture(t *testing.T) {
	cfg := simulated(1)
	cfg.Handler = func(w runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			os.WriteFile(filepath.Join(w.VolumeDir, "evil.jpg"), []byte("<html><script>alert(1)</script>"), 0o644)
			io.WriteString(rw, `{"result_image_path":"/runpod-volume/evil.jpg"}`)
		})
	}
	inBubble(t, cfg, func(b *bench) {
		id := b.accepted()
		b.events(id, "", nil)
		if resp, text := b.do("GET", "/jobs/"+id+"/result", nil); resp.StatusCode != http.StatusBadGateway || strings.Contains(text, "script") {
			b.Errorf("%s: %s", resp.Status, text)
		}
	})
}

func TestHealth(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		want := func(path string, status int, texts ...string) {
			b.Helper()
			resp, text := b.do("GET", path, nil)
			for _, part := range texts {
				if !strings.Contains(text, part) {
					b.Errorf("%s does not say %s:\n%s", path, part, text)
				}
			}
			if resp.StatusCode != status {
				b.Errorf("%s: %s: %s", path, resp.Status, text)
			}
		}
		want("/healthz", 200, "ok")
		want("/readyz", 200, `"workers":0`)
		id := b.accepted()
		b.events(id, "", nil)
		want("/metrics", 200, `runpod_requests_limit{`, `http_client_request_duration_seconds_bucket{`, `runpod_cause="cold_wait"`, `runpod_s3_pool_limit{`)
		if _, text := b.do("GET", "/metrics", nil); strings.Contains(text, id) {
			b.Error("/metrics names a job")
		}
		b.sim.SetWorkers(0, 0)
		time.Sleep(time.Minute)
		want("/readyz", 503, "No machine was free")
		b.s.close()
		want("/readyz", 503, "stopping")
		want("/healthz", 200, "ok")
		resp, _ := b.send(b.photos()...)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			b.Errorf("a job for a service that stops: %s", resp.Status)
		}
	})
}

// Jobs in flight end, and their watchers see it; the next process on the volume
// has their pictures.
func TestShutdown(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		var ids []string
		for range 10 {
			ids = append(ids, b.accepted())
		}
		var watchers sync.WaitGroup
		for _, id := range ids {
			watchers.Go(func() {
				all := b.events(id, "", nil)
				if last := all[len(all)-1]; last.Phase != phaseDone {
					b.Errorf("the last event: %+v", last)
				}
			})
		}
		synctest.Wait()
		if err := b.s.shutdown(b.Context(), b.server); err != nil {
			b.Error(err)
		}
		watchers.Wait()
		defer b.start()()
		for _, id := range ids {
			b.picture(id)
			if all := b.events(id, "", nil); len(all) != 1 || all[0].Phase != phaseDone {
				b.Errorf("after the restart: %+v", all)
			}
		}
	})
}

// Jobs that do not end in time are cut off, and so are their streams.
func TestShutdownDeadline(t *testing.T) {
	inBubble(t, simulated(1), func(b *bench) {
		id := b.accepted()
		var watcher sync.WaitGroup
		watcher.Go(func() { b.events(id, "", nil) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		err := b.s.shutdown(ctx, b.server)
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second || err == nil || !strings.Contains(err.Error(), "cut off 1 operation") {
			b.Errorf("after %v: %v", took, err)
		}
		watcher.Wait()
		if _, ok := errors.AsType[*runpod.Error](err); !ok {
			b.Errorf("%T", err)
		}
	})
}
