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

var errStalled = errors.New("no byte moved for too long, or too few")

// s3Seen is everything about an S3 attempt that the verdict depends on.
type s3Seen struct {
	status    int
	code      string // the gateway's error code; "" if it gave none
	err       error
	input     error // the input could not be read
	attempt   int   // failed attempts in a row, this one included
	forbidden int   // 403s so far, this one included
	trusted   bool  // meanwhile the same key was good for something else
	expired   int   // answers so far that the session token has expired, this one included
	expecting bool  // the request had asked for a 100 Continue before its body
}

// end gives up for a kind of failure.
func (s s3Seen) end(kind error, cause, reason string) decision {
	return decision{verdict: VerdictGiveUp, kind: kind, cause: cause, reason: reason}
}

// again sends another attempt, unless this one was the n-th of at most most.
func (s s3Seen) again(n, most int, kind error, cause, reason string) decision {
	if n >= most {
		return s.end(kind, cause, reason)
	}
	return decision{verdict: VerdictRetryBackoff, kind: kind, cause: cause, reason: reason}
}

// classifyS3 decides about a failed attempt against the S3 gateway. Every
// operation here may run twice.
func classifyS3(s s3Seen) decision {
	_, odd := errors.AsType[*noResultError](s.err)
	switch {
	case errors.Is(s.input, errChanged):
		return s.end(ErrIntegrity, "input_changed", "the input changed while it was uploaded")
	case s.input != nil:
		return s.end(nil, "input_unreadable", "the input cannot be read")
	case errors.Is(s.err, errTooLong):
		return s.end(ErrTooLarge, "answer_too_long", "the answer is too long")
	case odd:
		return s.again(s.attempt, s3Attempts, nil, "no_result", "the answer was not the result")
	}
	if d := s.byCode(); d.reason != "" {
		return d
	}
	return s.byStatus()
}

// byCode decides by the gateway's error code. It returns the zero decision for
// the others.
func (s s3Seen) byCode() decision {
	switch s.code {
	case "QuotaExceeded":
		return s.end(ErrVolumeFull, "volume_full", "no room on the volume")
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
		return s.again(s.attempt, maxThin+1, ErrIntegrity, "body_damaged", "the body arrived damaged")
	case "RequestTimeTooSkewed":
		return s.again(s.attempt, maxThin+1, ErrUnauthorized, "clock_skew", "this machine's clock and the gateway's differ")
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return s.again(s.expired, 2, ErrUnauthorized, "token_expired", "the session token has expired")
	case "IncompleteBody", "RequestTimeout":
		return s.again(s.attempt, s3Attempts, nil, "body_cut", "the body did not arrive whole")
	}
	return decision{}
}

func (s s3Seen) byStatus() decision {
	switch s.status {
	case 0:
		return s.byError()
	case http.StatusInsufficientStorage:
		return s.end(ErrVolumeFull, "volume_full", "no room on the volume")
	case http.StatusForbidden:
		most := s3Forbidden
		if s.trusted {
			most = s3Attempts
		}
		return s.again(s.forbidden, most, ErrUnauthorized, "unauthorized", "the S3 credentials were refused")
	case http.StatusUnauthorized:
		return s.end(ErrUnauthorized, "unauthorized", "the S3 credentials were refused")
	case http.StatusProxyAuthRequired:
		return s.end(ErrUnauthorized, "proxy_refused", "a proxy asks for a name and password")
	case http.StatusNotFound:
		return s.end(ErrNotFound, "not_found", "no such object or bucket")
	case http.StatusRequestEntityTooLarge:
		return s.end(ErrTooLarge, "too_large", "the object is too large")
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return s.end(ErrIntegrity, "object_changed", "the object changed")
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return s.again(s.attempt, s3Attempts, ErrRateLimited, "rate_limited", "the gateway asked to slow down")
	case http.StatusNotImplemented:
		return s.end(ErrBadRequest, "not_supported", "not supported by the gateway")
	}
	switch {
	case s.status >= 500 || s.status < 300: // an answer of 200 can carry an error, or break off
		return s.again(s.attempt, s3Attempts, nil, "server_failed", "the gateway failed")
	case s.status < 400:
		return s.end(ErrNotFound, "redirected", "the volume is at another address")
	case s.expecting && (s.status == http.StatusExpectationFailed || s.status == http.StatusBadRequest):
		// It is left out from now on, so that this happens once.
		return s.again(0, 1, ErrBadRequest, "expect_refused", "it may be the Expect header that was refused")
	}
	return s.end(ErrBadRequest, "bad_request", "the request was refused")
}

// byError decides about an attempt that got no answer.
func (s s3Seen) byError() decision {
	if d, permanent := classifyConnect(s.err); permanent {
		return d
	}
	switch {
	case isHostNotFound(s.err):
		return s.again(s.attempt, maxThin+1, ErrNotFound, "host_not_found", "host name not found")
	case errors.Is(s.err, errStalled):
		return s.again(s.attempt, s3Attempts, nil, "stalled", "the connection stalled")
	default:
		return s.again(s.attempt, s3Attempts, nil, "connection_lost", "the connection failed")
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

// s3Advice says what to do about an operation that ended so.
func s3Advice(d decision, status int, code string) string {
	switch {
	case d.hint != "":
		return d.hint
	case status == http.StatusProxyAuthRequired:
		return "set the proxy's name and password: HTTPS_PROXY, or WithHTTPTransport"
	case code == "ExpiredToken", code == "ExpiredTokenException", code == "TokenRefreshRequired":
		return "have the credentials provider return a fresh session token"
	case code == "NoSuchBucket":
		return "check the volume's id (WithVolume, WithS3Endpoint or RUNPOD_S3_BUCKET_NAME), and that its data center is that of the address"
	case status/100 == 3:
		return "the usual cause is another data center's address: check WithVolume, WithS3Endpoint or RUNPOD_S3_ENDPOINT_URL"
	}
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
