// Package tryon is the workload of the stress tests on real photographs: what is
// uploaded, and the program inside a worker that makes a picture of it.
package tryon

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// volumeMount is where a serverless worker sees the network volume.
const volumeMount = "/runpod-volume/"

// Path is the route that the stress tests call.
const Path = "/api/v1/tryon"

// request and answer are the route's JSON; paths are the worker's.
type request struct {
	Person  string `json:"person_image_path"`
	Garment string `json:"garment_image_path"`
}

type answer struct {
	Result string        `json:"result_image_path"`
	Work   burst.Seconds `json:"processing_seconds"`
}

// Handler is the program inside a worker: a picture service with its volume in
// a folder. A picture takes until model returns, which is called with the time
// at which the request began and returns how long it took. The Handler is safe
// for concurrent use.
func Handler(volume string, model func(began time.Time) burst.Seconds) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	picture := func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		made, err := tryOn(volume, r.Body)
		if err != nil {
			refuse(w, err)
			return
		}
		made.Work = model(began)
		reply(w, http.StatusOK, made)
	}
	mux.HandleFunc("POST "+Path, picture)
	mux.HandleFunc("POST "+Path+"/{job}", picture) // so the simulated endpoint's account knows the job
	return mux
}

// tryOn decodes both photos, composes them and writes the result.
func tryOn(volume string, body io.Reader) (answer, error) {
	req, err := decodeRequest(body)
	if err != nil {
		return answer{}, err
	}
	person, err := readJPEG(volume, "person_image_path", req.Person)
	if err != nil {
		return answer{}, err
	}
	garment, err := readJPEG(volume, "garment_image_path", req.Garment)
	if err != nil {
		return answer{}, err
	}
	key := "results/" + rand.Text() + ".jpg"
	err = writeJPEG(filepath.Join(volume, filepath.FromSlash(key)), compose(person, garment))
	return answer{Result: volumeMount + key}, err
}

// refusal is an error that is the caller's fault, in FastAPI's words.
type refusal struct {
	status int
	detail any
}

func (r refusal) Error() string { return fmt.Sprint(r.detail) }

// invalid is one entry of FastAPI's 422 detail.
type invalid struct {
	Type string   `json:"type"`
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
}

func unprocessable(faults ...invalid) error {
	return refusal{http.StatusUnprocessableEntity, faults}
}

func decodeRequest(body io.Reader) (request, error) {
	var req request
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return req, unprocessable(invalid{"json_invalid", []string{"body"}, "JSON decode error: " + err.Error()})
	}
	var faults []invalid
	if req.Person == "" {
		faults = append(faults, invalid{"missing", []string{"body", "person_image_path"}, "Field required"})
	}
	if req.Garment == "" {
		faults = append(faults, invalid{"missing", []string{"body", "garment_image_path"}, "Field required"})
	}
	if faults != nil {
		return req, unprocessable(faults...)
	}
	return req, nil
}

// readJPEG decodes the photo that the request's field names.
func readJPEG(volume, field, where string) (image.Image, error) {
	key, onVolume := strings.CutPrefix(where, volumeMount)
	if !onVolume || !fs.ValidPath(key) {
		return nil, unprocessable(invalid{"value_error", []string{"body", field}, "not a path under " + volumeMount})
	}
	f, err := os.Open(filepath.Join(volume, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refusal{http.StatusNotFound, field + ": no file at " + where}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		return nil, refusal{http.StatusBadRequest, field + ": cannot decode " + path.Base(where) + ": " + err.Error()}
	}
	return img, nil
}

// writeJPEG makes the file appear whole or not at all.
func writeJPEG(name string, img image.Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".partial-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once it is renamed
	err = errors.Join(jpeg.Encode(f, img, &jpeg.Options{Quality: 90}), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func refuse(w http.ResponseWriter, err error) {
	var r refusal
	if !errors.As(err, &r) {
		r = refusal{http.StatusInternalServerError, err.Error()}
	}
	reply(w, r.status, map[string]any{"detail": r.detail})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
