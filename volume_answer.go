package runpod

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/gpuburst/runpod-go/internal/redact"
)

const (
	// maxResult is how much of a result is read into memory. A page of 1,000
	// keys of 1,024 bytes, each byte written as %XX, is a quarter of that.
	maxResult = 16 << 20
	// maxRefusal is how much is read of an answer that says no.
	maxRefusal = 64 << 10
	// refusalWait is how long that is waited for: its status is there already.
	refusalWait = 5 * time.Second
	// maxStored is more than any store takes as one object (AWS S3: 50 TB).
	maxStored = 1 << 50
)

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxResult)

// noResultError is an answer that says that all is well, and is not the result.
type noResultError struct{ reason string }

func (e *noResultError) Error() string {
	return "the answer is not the result that was asked for: " + e.reason
}

func noResult(format string, args ...any) error {
	return &noResultError{redact.Line(fmt.Appendf(nil, format, args...), maxExcerpt)}
}

// readAnswer reads an answer that is not streamed, within bounds. Of one that
// says no it keeps what comes within refusalWait.
func readAnswer(status int, body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	if status/100 == 2 {
		data, err := io.ReadAll(io.LimitReader(body, maxResult+1))
		if err == nil && len(data) > maxResult {
			err = errTooLong
		}
		return data, err
	}
	defer time.AfterFunc(refusalWait, func() { body.Close() }).Stop()
	data, _ := io.ReadAll(io.LimitReader(body, maxRefusal))
	return data, nil
}

// s3Refusal is an answer that says no. It is a [smithy.APIError].
type s3Refusal struct {
	status        int
	code, message string
	location      string // of a redirect
}

var errorCode = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// parseRefusal reads what it can of an answer that says no.
func parseRefusal(status int, h http.Header, body []byte, secrets *redact.Secrets) *s3Refusal {
	body = secrets.Bytes(body)
	r := &s3Refusal{status: status, location: secrets.Line([]byte(h.Get("Location")), maxExcerpt)}
	var said struct {
		XMLName                 xml.Name
		Code, Message, Endpoint string
	}
	xml.Unmarshal(body, &said) // what comes before a mistake counts
	switch {
	case said.XMLName.Local != "Error":
		r.message = redact.Line(body, maxExcerpt)
	default:
		r.message = redact.Line([]byte(said.Message), maxExcerpt)
		if errorCode.MatchString(said.Code) {
			r.code = said.Code
		}
		if r.location == "" {
			r.location = redact.Line([]byte(said.Endpoint), maxExcerpt)
		}
	}
	return r
}

func (r *s3Refusal) Error() string {
	text := r.code
	if text == "" {
		text = strings.TrimSpace(strconv.Itoa(r.status) + " " + http.StatusText(r.status))
	}
	if r.message != "" {
		text += ": " + r.message
	}
	if r.location != "" && r.status/100 == 3 {
		text += ": it sends to " + r.location
	}
	return text
}

// ErrorCode returns the gateway's code, "" if it gave none.
func (r *s3Refusal) ErrorCode() string { return r.code }

// ErrorMessage returns the gateway's words, the beginning of them.
func (r *s3Refusal) ErrorMessage() string { return r.message }

// ErrorFault says whose fault it is, which nobody asks.
func (r *s3Refusal) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }

// resultOf has for each operation how its result is read from an answer of 2xx.
// Only what is used here is looked at: an odd date fails nothing.
var resultOf = map[string]func(h http.Header, body []byte) (any, error){
	"PutObject":               putResult,
	"UploadPart":              partResult,
	"HeadObject":              headResult,
	"DeleteObject":            deleteResult,
	"AbortMultipartUpload":    abortResult,
	"CreateMultipartUpload":   createResult,
	"CompleteMultipartUpload": completeResult,
	"ListParts":               listPartsResult,
	"ListObjectsV2":           listResult,
}

// getResult is the result of GetObject, whose body is streamed.
func getResult(status int, h http.Header, length int64, body io.ReadCloser) (*s3.GetObjectOutput, error) {
	if status != http.StatusOK && status != http.StatusPartialContent || !ofAnObject(h) {
		return nil, noResult("status %d without an object's headers", status)
	}
	out := &s3.GetObjectOutput{Body: body, ETag: header(h, "ETag")}
	if length >= 0 {
		out.ContentLength = &length
	}
	if status == http.StatusPartialContent {
		if out.ContentRange = header(h, "Content-Range"); out.ContentRange == nil {
			return nil, noResult("status 206 without a Content-Range")
		}
	}
	return out, nil
}

// ofAnObject reports whether an answer has any of the headers that come with an
// object. What a proxy answers by itself, with a 200 at times, has none.
func ofAnObject(h http.Header) bool {
	for name := range h {
		switch {
		case name == "Etag", name == "Last-Modified", name == "Accept-Ranges", name == "Content-Range", strings.HasPrefix(name, "X-Amz-"):
			return true
		}
	}
	return false
}

func header(h http.Header, name string) *string {
	if v := h.Get(name); v != "" {
		return &v
	}
	return nil
}

func deleteResult(_ http.Header, body []byte) (any, error) {
	return &s3.DeleteObjectOutput{}, noBody(body)
}

func abortResult(_ http.Header, body []byte) (any, error) {
	return &s3.AbortMultipartUploadOutput{}, noBody(body)
}

func noBody(body []byte) error {
	if text := bytes.TrimSpace(body); len(text) > 0 {
		return noResult("it has a body, %.100q", text)
	}
	return nil
}

func putResult(h http.Header, body []byte) (any, error) {
	out := &s3.PutObjectOutput{ETag: header(h, "ETag"), ChecksumCRC32C: header(h, "X-Amz-Checksum-Crc32c")}
	if out.ETag == nil && out.ChecksumCRC32C == nil {
		return nil, noResult("it has neither ETag nor checksum")
	}
	return out, nil
}

func partResult(h http.Header, body []byte) (any, error) {
	out := &s3.UploadPartOutput{ETag: header(h, "ETag"), ChecksumCRC32C: header(h, "X-Amz-Checksum-Crc32c")}
	if out.ETag == nil {
		return nil, noResult("it has no ETag")
	}
	return out, nil
}

func headResult(h http.Header, _ []byte) (any, error) {
	if !ofAnObject(h) {
		return nil, noResult("it has none of an object's headers")
	}
	out := &s3.HeadObjectOutput{ETag: header(h, "ETag"), Metadata: map[string]string{}}
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		out.ContentLength = &n
	}
	for name := range h {
		if meta, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			out.Metadata[strings.ToLower(meta)] = h.Get(name)
		}
	}
	return out, nil
}

func createResult(_ http.Header, body []byte) (any, error) {
	var said struct{ UploadId string }
	err := decodeResult(body, "InitiateMultipartUpload", &said)
	if err == nil && said.UploadId == "" {
		err = noResult("it gives the upload no id")
	}
	return &s3.CreateMultipartUploadOutput{UploadId: &said.UploadId}, err
}

func completeResult(_ http.Header, body []byte) (any, error) {
	var said struct{ ETag string }
	err := decodeResult(body, "CompleteMultipartUpload", &said)
	return &s3.CompleteMultipartUploadOutput{ETag: &said.ETag}, err
}

func listPartsResult(_ http.Header, body []byte) (any, error) {
	var said struct {
		IsTruncated          string
		NextPartNumberMarker string
		Part                 []struct{ PartNumber, Size, ETag string }
	}
	if err := decodeResult(body, "ListParts", &said); err != nil {
		return nil, err
	}
	out := &s3.ListPartsOutput{NextPartNumberMarker: &said.NextPartNumberMarker}
	var err error
	if out.IsTruncated, err = parseTruncated(said.IsTruncated); err != nil {
		return nil, err
	}
	for _, p := range said.Part {
		number, err1 := strconv.ParseInt(p.PartNumber, 10, 32)
		size, err2 := parseSize(p.Size)
		if err := errors.Join(err1, err2); err != nil || number < 1 || number > maxParts {
			return nil, noResult("part %.20q of %.20q bytes", p.PartNumber, p.Size)
		}
		out.Parts = append(out.Parts, types.Part{PartNumber: aws.Int32(int32(number)), Size: &size, ETag: &p.ETag})
	}
	return out, nil
}

func listResult(_ http.Header, body []byte) (any, error) {
	var said struct {
		IsTruncated, NextContinuationToken, EncodingType string
		Contents                                         []struct{ Key, Size, ETag, LastModified string }
	}
	if err := decodeResult(body, "ListBucket", &said); err != nil {
		return nil, err
	}
	out := &s3.ListObjectsV2Output{NextContinuationToken: &said.NextContinuationToken}
	var err error
	if out.IsTruncated, err = parseTruncated(said.IsTruncated); err != nil {
		return nil, err
	}
	for _, o := range said.Contents {
		key := o.Key
		if said.EncodingType == "url" {
			if key, err = url.QueryUnescape(key); err != nil {
				return nil, noResult("the key %.100q is not URL-encoded, as it says", o.Key)
			}
		}
		size, err := parseSize(o.Size)
		if err != nil || key == "" {
			return nil, noResult("the key %.100q with the size %.20q", key, o.Size)
		}
		obj := types.Object{Key: &key, Size: &size, ETag: &o.ETag}
		if at, err := time.Parse(time.RFC3339, o.LastModified); err == nil {
			obj.LastModified = &at
		}
		out.Contents = append(out.Contents, obj)
	}
	return out, nil
}

// decodeResult decodes the XML of a result whose outermost element is root, or
// root and "Result": stores differ (gofakes3 leaves it out). Some answers of 200
// are an error all the same (Amazon S3 API reference).
func decodeResult(body []byte, root string, result any) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return noResult("it is empty")
		}
		if err != nil {
			return noResult("%v", err)
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
			continue
		case start.Name.Local == "Error":
			return errErrorInside
		case strings.TrimSuffix(start.Name.Local, "Result") != root:
			return noResult("it is %.40q, not %sResult", start.Name.Local, root)
		}
		if err := d.DecodeElement(result, &start); err != nil {
			return noResult("%v", err)
		}
		return nil
	}
}

// errErrorInside says that an answer of 2xx is to be read as a refusal.
var errErrorInside = errors.New("an error within an answer of 200")

func parseTruncated(s string) (*bool, error) {
	switch s {
	case "", "false", "False", "FALSE", "0":
		return aws.Bool(false), nil
	case "true", "True", "TRUE", "1":
		return aws.Bool(true), nil
	}
	return nil, noResult("IsTruncated is %.20q", s)
}

// parseSize reads a number of bytes; "" is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err == nil && (n < 0 || n > maxStored) {
		err = strconv.ErrRange
	}
	return n, err
}

// byteRange is which bytes of an object an answer has.
type byteRange struct {
	from, to int64 // to is the last one; an empty object has -1
	total    int64 // -1: not said
}

// parseContentRange reads the header Content-Range (RFC 9110, section 14.4).
// "bytes */0" is taken for an empty object.
func parseContentRange(s string) (byteRange, error) {
	bad := func() (byteRange, error) { return byteRange{}, noResult("the Content-Range %.100q", s) }
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return bad()
	}
	r := byteRange{total: -1}
	var err error
	if size != "*" {
		if r.total, err = strconv.ParseInt(size, 10, 64); err != nil || r.total < 0 || r.total > maxStored {
			return bad()
		}
	}
	if span == "*" && r.total == 0 {
		return byteRange{to: -1}, nil
	}
	from, to, ok := strings.Cut(span, "-")
	r.from, err = strconv.ParseInt(from, 10, 64)
	if err == nil {
		r.to, err = strconv.ParseInt(to, 10, 64)
	}
	if !ok || err != nil || r.from < 0 || r.to < r.from || r.to >= maxStored || r.total >= 0 && r.to >= r.total {
		return bad()
	}
	return r, nil
}
