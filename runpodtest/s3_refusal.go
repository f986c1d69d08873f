package runpodtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
)

// s3Refusal is an answer of the gateway itself. Without a code it has no S3 body,
// as the answers of the network in front of the gateway.
type s3Refusal struct {
	status        int
	code, message string
}

func (e *s3Refusal) write(w http.ResponseWriter, r *http.Request) {
	if e.code == "" {
		writeText(w, e.status, fmt.Sprintf("error code: %d", e.status))
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method == http.MethodHead {
		return
	}
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(struct {
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
		Resource      string
	}{Code: e.code, Message: e.message, Resource: r.URL.Path})
}

func notImplemented(message string) *s3Refusal {
	return &s3Refusal{http.StatusNotImplemented, "NotImplemented", message}
}
