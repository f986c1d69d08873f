package worker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// volume is a network volume with one photo of each kind, and a text file.
func volume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"person.jpg":  jpegOf(t, plain(512, 512, white)),
		"garment.jpg": jpegOf(t, plain(300, 200, red)),
		"notes.jpg":   []byte("not a picture"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func jpegOf(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func post(dir, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	model := func(time.Time) float64 { return 12 }
	TryOn(dir, model).ServeHTTP(w, httptest.NewRequest("POST", TryOnPath, strings.NewReader(body)))
	return w
}

const goodRequest = `{"person_image_path": "/runpod-volume/person.jpg", "garment_image_path": "/runpod-volume/garment.jpg"}`

func TestTryOnWritesAPictureMadeOfBoth(t *testing.T) {
	dir := volume(t)
	w := post(dir, goodRequest)
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	if got.Work != 12 {
		t.Errorf("processing_seconds: %v, want what the model said, 12 s", got.Work)
	}
	key, ok := strings.CutPrefix(got.Result, "/runpod-volume/results/")
	if !ok {
		t.Fatalf("result at %q, want it under /runpod-volume/results/", got.Result)
	}
	made, err := os.ReadFile(filepath.Join(dir, "results", key))
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(made))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds().Dx() != 512 || img.Bounds().Dy() != 512 {
		t.Errorf("the result is %v, want the person's 512 x 512", img.Bounds())
	}
	left, err := filepath.Glob(filepath.Join(dir, "results", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestTryOnRefusesLikeFastAPI(t *testing.T) {
	dir := volume(t)
	for name, c := range map[string]struct {
		body   string
		status int
		says   []string
	}{
		"no JSON":          {`{"person`, 422, []string{`"type":"json_invalid"`}},
		"field missing":    {`{"person_image_path": "/runpod-volume/person.jpg"}`, 422, []string{`"loc":["body","garment_image_path"]`, `"msg":"Field required"`}},
		"both missing":     {`{}`, 422, []string{"person_image_path", "garment_image_path"}},
		"not on volume":    {strings.Replace(goodRequest, "/runpod-volume/person", "/etc/person", 1), 422, []string{"person_image_path"}},
		"out of volume":    {strings.Replace(goodRequest, "/person", "/../person", 1), 422, []string{"person_image_path"}},
		"no such file":     {strings.Replace(goodRequest, "garment.jpg", "gone.jpg", 1), 400, []string{"gone.jpg"}},
		"not a photograph": {strings.Replace(goodRequest, "garment.jpg", "notes.jpg", 1), 400, []string{"garment_image_path", "notes.jpg"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := post(dir, c.body)
			if w.Code != c.status || !strings.HasPrefix(w.Body.String(), `{"detail":`) {
				t.Errorf("%d %s, want status %d and a detail", w.Code, w.Body, c.status)
			}
			for _, s := range c.says {
				if !strings.Contains(w.Body.String(), s) {
					t.Errorf("%s does not say %s", w.Body, s)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); !os.IsNotExist(err) {
		t.Error("a refused request wrote a result")
	}
}

// The simulated endpoint's account knows a job by the end of its path.
func TestTryOnTakesTheNumberOfAJob(t *testing.T) {
	w := httptest.NewRecorder()
	model := func(time.Time) float64 { return 12 }
	TryOn(volume(t), model).ServeHTTP(w, httptest.NewRequest("POST", TryOnPath+"/7", strings.NewReader(goodRequest)))
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTryOnAnswersPing(t *testing.T) {
	w := httptest.NewRecorder()
	TryOn(t.TempDir(), nil).ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil))
	if w.Code != http.StatusOK {
		t.Errorf("GET /ping: %d", w.Code)
	}
}

// Paths are a worker's, or keys; a PNG makes a PNG.
func TestTryOnTakesKeysAndPNGs(t *testing.T) {
	dir := volume(t)
	var b bytes.Buffer
	if err := png.Encode(&b, plain(64, 64, white)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "person.png"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	w := post(dir, `{"person_image_path": "person.png", "garment_image_path": "garment.jpg"}`)
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || !strings.HasSuffix(got.Result, ".png") {
		t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	made, err := os.Open(filepath.Join(dir, strings.TrimPrefix(got.Result, "/runpod-volume/")))
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	if img, err := png.Decode(made); err != nil || img.Bounds().Dx() != 64 {
		t.Errorf("%v, %v", img, err)
	}
}

// A stranger's picture may claim to be huge, and a link may lead out of the volume.
func TestTryOnIsNotLedAstray(t *testing.T) {
	dir := volume(t)
	huge, err := os.Create(filepath.Join(dir, "huge.png"))
	if err != nil {
		t.Fatal(err)
	}
	header := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x02\x00\x00\x00")
	huge.Write(binary.BigEndian.AppendUint32(header, crc32.ChecksumIEEE(header[12:])))
	huge.Close()
	outside := filepath.Join(t.TempDir(), "secret.jpg")
	os.WriteFile(outside, jpegOf(t, plain(8, 8, red)), 0o644)
	os.Symlink(outside, filepath.Join(dir, "link.jpg"))
	for name, says := range map[string]string{"huge.png": "too many", "link.jpg": "no file"} {
		w := post(dir, strings.Replace(goodRequest, "/runpod-volume/person.jpg", name, 1))
		if w.Code != 400 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
