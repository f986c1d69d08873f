package runpodtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// workerHeader names the worker that served a request, and in a request asks
// for one.
const workerHeader = "X-Runpod-Worker-Id"

// writeJSON answers with a status and a JSON value.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// writeOK answers 200 with a JSON value.
func writeOK(w http.ResponseWriter, v any) {
	writeJSON(w, http.StatusOK, "application/json", v)
}

// problem is the answer shape of the service's edge.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, "application/problem+json", problem{status, http.StatusText(status), detail})
}

func writeError(w http.ResponseWriter, status int, reason string) {
	writeJSON(w, status, "application/json", map[string]string{"error": reason})
}

// writeText answers as the network in front of the service does.
func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

func contentType(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case len(body) > 0 && body[0] == '<':
		return "application/xml"
	}
	return "text/plain; charset=utf-8"
}

// decode reads a request's JSON body of at most limit bytes, and answers if it
// cannot.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) bool {
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, limit)).Decode(v)
	if err == nil {
		return true
	}
	if _, ok := err.(*http.MaxBytesError); ok {
		writeError(w, http.StatusRequestEntityTooLarge, "payload too large")
	} else {
		writeError(w, http.StatusBadRequest, "malformed JSON")
	}
	return false
}

// abort resets the connection and ends the handler it is called from.
func abort(conn *servedConn) {
	if conn != nil {
		conn.reset()
	}
	panic(http.ErrAbortHandler)
}

// sleep waits for d or until the context ends, and reports which it was.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// discard is a ResponseWriter for work whose result nobody will see.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
