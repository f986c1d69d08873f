package runpod

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// s3Attempts: Runpod's docs advise 10 attempts against the gateway's 502s.
	s3Attempts = 10
	// s3Forbidden is how many 403s one operation meets before they count as
	// meant: under concurrency the gateway refuses good keys (reported by
	// users), and a wrong key gets the same words. While the same key is good
	// for other operations, it is s3Attempts.
	s3Forbidden = 4
)

var errStalled = errors.New("no byte moved for too long")

// s3Seen is everything about an S3 attempt that the verdict depends on.
type s3Seen struct {
	status    int
	code      string // the gateway's error code; "" when it gave none
	err       error
	input     error // the input could not be read
	attempt   int   // failed attempts in a row, this one included
	forbidden int   // 403s so far, this one included
	trusted   bool  // meanwhile the same key was good for something else
}

// classifyS3 decides about a failed attempt against the S3 gateway. Every
// operation here may run twice.
func classifyS3(s s3Seen) decision {
	end := func(kind error, reason string) decision {
		return decision{verdict: VerdictGiveUp, kind: kind, reason: reason}
	}
	again := func(most int, n int, kind error, reason string) decision {
		if n >= most {
			return end(kind, reason)
		}
		return decision{verdict: VerdictRetryBackoff, kind: kind, reason: reason}
	}
	switch {
	case errors.Is(s.input, errChanged):
		return end(ErrIntegrity, "the input changed while it was uploaded")
	case s.input != nil:
		return end(nil, "the input cannot be read")
	case s.status == http.StatusInsufficientStorage, s.code == "QuotaExceeded":
		return end(ErrVolumeFull, "no room on the volume")
	case s.code == "BadDigest", s.code == "XAmzContentSHA256Mismatch", s.code == "XAmzContentChecksumMismatch":
		return again(maxThin+1, s.attempt, ErrIntegrity, "the body arrived damaged")
	case s.code == "RequestTimeTooSkewed":
		return again(maxThin+1, s.attempt, ErrUnauthorized, "this machine's clock and the gateway's differ")
	case s.code == "IncompleteBody", s.code == "RequestTimeout":
		return again(s3Attempts, s.attempt, nil, "the body did not arrive whole")
	}
	switch s.status {
	case 0:
		return classifyS3Error(s, again)
	case http.StatusForbidden:
		most := s3Forbidden
		if s.trusted {
			most = s3Attempts
		}
		return again(most, s.forbidden, ErrUnauthorized, "the S3 credentials were refused")
	case http.StatusUnauthorized:
		return end(ErrUnauthorized, "the S3 credentials were refused")
	case http.StatusNotFound:
		return end(ErrNotFound, "no such object or bucket")
	case http.StatusRequestEntityTooLarge:
		return end(ErrTooLarge, "the object is too large")
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return end(ErrIntegrity, "the object changed")
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return again(s3Attempts, s.attempt, ErrRateLimited, "the gateway asked to slow down")
	case http.StatusNotImplemented:
		return end(ErrBadRequest, "not supported by the gateway")
	}
	if s.status >= 500 || s.status < 300 { // an answer of 200 can carry an error, or break off
		return again(s3Attempts, s.attempt, nil, "the gateway failed")
	}
	return end(ErrBadRequest, "the request was refused")
}

func classifyS3Error(s s3Seen, again func(int, int, error, string) decision) decision {
	switch {
	case isPermanent(s.err):
		return decision{verdict: VerdictGiveUp, reason: "cannot connect: certificate or address is wrong"}
	case isHostNotFound(s.err):
		return again(maxThin+1, s.attempt, ErrNotFound, "host name not found")
	case errors.Is(s.err, errStalled):
		return again(s3Attempts, s.attempt, nil, "the connection stalled")
	default:
		return again(s3Attempts, s.attempt, nil, "the connection failed")
	}
}

// mayHaveWorked reports whether the gateway may have done what it was asked
// for, although it answered with this.
func mayHaveWorked(status int, code string) bool {
	return status == 0 || status < 300 || status >= 500 && code != "SlowDown"
}

// skewAdvice says by how much the clocks differ.
func skewAdvice(gateways string, now time.Time) string {
	const most = "at most an hour is tolerated" // Runpod docs
	theirs, err := http.ParseTime(gateways)
	if err != nil {
		return "set this machine's clock right: " + most
	}
	by, way := now.Sub(theirs), "ahead of"
	if by < 0 {
		by, way = -by, "behind"
	}
	return fmt.Sprintf("this machine's clock is %s %s the gateway's: set it right, %s", by.Round(time.Second), way, most)
}

func s3Advice(d decision) string {
	switch d.kind {
	case ErrUnauthorized:
		return "check the S3 access key (not the API key) and this machine's clock"
	case ErrTooLarge:
		return "if it went in parts, make them smaller with WithPartSize"
	case ErrVolumeFull:
		return "delete objects or enlarge the volume"
	case ErrIntegrity:
		return "nothing was stored; upload it again from a source that does not change"
	default:
		return ""
	}
}
