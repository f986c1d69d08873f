package runpodtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/rclone/gofakes3/signature"
)

// refusal says why a request is not served, or nil.
func (c *s3Call) refusal(v *volume) *s3Refusal {
	q := c.r.URL.Query()
	if q.Has("X-Amz-Signature") {
		return notImplemented("presigned URLs are not supported")
	}
	if r := v.cfg.S3.transient(v.cfg.Seed, c.n, c.many); r != nil {
		return r
	}
	if code := signature.V4SignVerifyWithLookup(c.r, v.secret); code != signature.ErrNone {
		e := signature.GetAPIError(code)
		return &s3Refusal{e.HTTPStatusCode, e.Code, e.Description}
	}
	if got := signedRegion(c.r); !strings.EqualFold(got, v.cfg.Region) {
		return &s3Refusal{http.StatusBadRequest, "AuthorizationHeaderMalformed",
			fmt.Sprintf("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", got, v.cfg.Region)}
	}
	if sub := unsupported(c.r.Method, c.key, q); sub != "" {
		return notImplemented(sub + " is not supported")
	}
	if c.key != "" {
		if err := checkKey(c.key); err != nil {
			code, message, _ := strings.Cut(err.Error(), ": ")
			return &s3Refusal{http.StatusBadRequest, code, message}
		}
	}
	return v.overfull(c, q)
}

// signedRegion is the region in a signature's scope: KEY/DATE/REGION/s3/aws4_request.
// Users met a refusal with a wrong one; both cases of the data center's id are in
// use. The answer's code and text are those of S3, inferred here.
func signedRegion(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	parts := strings.Split(scope, "/")
	if len(parts) < 5 {
		return ""
	}
	return parts[len(parts)-3]
}

func (v *volume) secret(accessKey string) (string, bool) {
	s, ok := v.keys[accessKey]
	return s, ok
}

// unsupported names what the gateway does not offer (Runpod docs), if the
// request is for that.
func unsupported(method, key string, q url.Values) string {
	for _, sub := range []string{"acl", "tagging", "versions", "versionId", "versioning", "location",
		"policy", "lifecycle", "cors", "encryption", "object-lock", "retention", "legal-hold",
		"website", "replication", "notification", "logging", "attributes", "torrent", "select"} {
		if q.Has(sub) {
			return sub
		}
	}
	switch {
	case method == http.MethodPost && q.Has("delete"):
		return "DeleteObjects"
	case method == http.MethodPost && key == "":
		return "uploading by a form"
	}
	return ""
}

// overfull is the refusal of what is too large, does not fit, or was completed
// before, or nil.
func (v *volume) overfull(c *s3Call, q url.Values) *s3Refusal {
	h := &v.cfg.S3
	limit := h.PartLimit
	if limit == 0 {
		limit = documentedPartLimit
	}
	put, size := c.r.Method == http.MethodPut, bodySize(c.r)
	switch {
	case put && size > limit:
		return &s3Refusal{http.StatusRequestEntityTooLarge, "EntityTooLarge", fmt.Sprintf("the body is over %d bytes", limit)}
	case put && h.VolumeSize > 0 && v.folder.used()+max(size, 0) > h.VolumeSize:
		if h.QuotaError {
			return &s3Refusal{http.StatusForbidden, "QuotaExceeded", "the volume's quota is exceeded"}
		}
		return &s3Refusal{http.StatusInsufficientStorage, "InsufficientStorage", "no space left on device"}
	case h.ForgetsUploads && v.isComplete(c.r) && v.wasCompleted(q.Get("uploadId")):
		return &s3Refusal{http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist."}
	}
	return nil
}

// bodySize is how many bytes a request stores, -1 if it does not say.
func bodySize(r *http.Request) int64 {
	if n, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err == nil {
		return n
	}
	return r.ContentLength
}

func (v *volume) wasCompleted(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.completed[id]
}
