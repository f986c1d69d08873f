package worker

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// volumeMount is where a serverless worker sees the network volume.
const volumeMount = "/runpod-volume/"

// TryOnPath is the route that the stress tests call.
const TryOnPath = "/api/v1/tryon"

// maxPixels bounds the photographs that a worker decodes: 50 megapixels take
// 200 MB of memory.
const maxPixels = 50_000_000

// request and answer are the route's JSON; paths are the worker's.
type request struct {
	Person  string `json:"person_image_path"`
	Garment string `json:"garment_image_path"`
}

type answer struct {
	Result string  `json:"result_image_path"`
	Work   float64 `json:"processing_seconds"`
}

// TryOn is the program of the stress tests' workers: a picture service with its
// volume in a folder. It reads two photographs by the paths in the request,
// writes a picture of both under results/ and answers with its path. A request
// takes until model returns, which is called with the time at which it began and
// returns how many seconds it took; nil means no longer than the picture takes.
// The Handler is safe for concurrent use.
func TryOn(volume string, model func(began time.Time) float64) http.Handler {
	if model == nil {
		model = func(began time.Time) float64 { return time.Since(began).Seconds() }
	}
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "healthy"})
	})
	mux.HandleFunc("POST "+TryOnPath, picture)
	mux.HandleFunc("POST "+TryOnPath+"/{job}", picture) // so the simulated endpoint's account knows the job
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, refusal{http.StatusNotFound, "Not Found"})
	})
	return mux
}

// tryOn decodes both photos, composes them and writes the result in the form of
// the first.
func tryOn(volume string, body io.Reader) (answer, error) {
	req, err := decodeRequest(body)
	if err != nil {
		return answer{}, err
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return answer{}, err
	}
	defer root.Close()
	person, format, err := readPhoto(root, "person_image_path", req.Person)
	if err != nil {
		return answer{}, err
	}
	garment, _, err := readPhoto(root, "garment_image_path", req.Garment)
	if err != nil {
		return answer{}, err
	}
	key := "results/" + rand.Text() + map[string]string{"jpeg": ".jpg", "png": ".png"}[format]
	err = writePhoto(root, key, compose(person, garment))
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

// keyOf is the key on the volume that a path in a request means: a worker's path,
// or the key itself.
func keyOf(field, where string) (string, error) {
	key, onVolume := strings.CutPrefix(where, volumeMount)
	if !onVolume && path.IsAbs(where) || !fs.ValidPath(key) {
		return "", unprocessable(invalid{"value_error", []string{"body", field}, "neither a path under " + volumeMount + " nor a key on the volume"})
	}
	return key, nil
}

// readPhoto decodes the photo that the request's field names, a JPEG or a PNG.
func readPhoto(root *os.Root, field, where string) (img image.Image, format string, err error) {
	key, err := keyOf(field, where)
	if err != nil {
		return nil, "", err
	}
	f, err := root.Open(key)
	if err != nil {
		return nil, "", refusal{http.StatusBadRequest, field + ": no file at " + where}
	}
	defer f.Close()
	cfg, format, err := image.DecodeConfig(f)
	if err == nil && cfg.Width*cfg.Height > maxPixels {
		err = fmt.Errorf("%d x %d pixels are too many", cfg.Width, cfg.Height)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		img, _, err = image.Decode(f)
	}
	if err != nil {
		return nil, "", refusal{http.StatusBadRequest, field + ": cannot decode " + path.Base(where) + ": " + err.Error()}
	}
	return img, format, nil
}

// writePhoto makes the file appear whole or not at all.
func writePhoto(root *os.Root, key string, img image.Image) (err error) {
	if err := root.MkdirAll(path.Dir(key), 0o755); err != nil {
		return err
	}
	partial := path.Join(path.Dir(key), ".partial-"+path.Base(key))
	f, err := root.Create(partial)
	if err != nil {
		return err
	}
	if path.Ext(key) == ".png" {
		err = png.Encode(f, img)
	} else {
		err = jpeg.Encode(f, img, &jpeg.Options{Quality: 90})
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(partial, key)
	}
	if err != nil {
		root.Remove(partial)
	}
	return err
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
