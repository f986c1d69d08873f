package runpodtest

import (
	"net/http"
)

// S3Habits are what users have met on the volume's gateway. All are off by
// default; single events are better set with Server.Fault.
type S3Habits struct {
	// TransientAbove answers a third of the requests with 403 while more than so
	// many are under way. Users saw a third refused at 16 threads, none at 6. The
	// text is that of a wrong key. Zero means never.
	TransientAbove int

	// ErrorRate is the share of requests, from 0 to 1, that get 502, 503, 520, 524
	// or 530 from the network in front of the gateway.
	ErrorRate float64

	// PartLimit answers 413 to larger parts and objects. Runpod documents 500 MB,
	// users met it above 128 MB. Zero means 500 MB.
	PartLimit int64

	// LateComplete answers 524 to CompleteMultipartUpload, although it completes.
	LateComplete bool

	// ForgetsUploads answers NoSuchUpload to completing an upload again. By
	// default the same success is given again.
	ForgetsUploads bool

	// UTCDates ends Last-Modified in UTC instead of GMT.
	UTCDates bool

	// VolumeSize is the disk's size in bytes: an upload that does not fit gets
	// 507. Zero means no limit.
	VolumeSize int64

	// QuotaError makes that 403 QuotaExceeded instead.
	QuotaError bool

	// BytesPerSecond slows every download down to that. Zero means no limit.
	BytesPerSecond int64
}

// documentedPartLimit is the limit Runpod documents.
const documentedPartLimit = 500_000_000

func (h S3Habits) check() error {
	switch {
	case h.TransientAbove < 0:
		return fieldError("S3.TransientAbove", "%d is negative", h.TransientAbove)
	case !(h.ErrorRate >= 0 && h.ErrorRate <= 1):
		return fieldError("S3.ErrorRate", "%v is not between 0 and 1", h.ErrorRate)
	case h.PartLimit < 0:
		return fieldError("S3.PartLimit", "%d is negative", h.PartLimit)
	case h.VolumeSize < 0:
		return fieldError("S3.VolumeSize", "%d is negative", h.VolumeSize)
	case h.QuotaError && h.VolumeSize == 0:
		return fieldError("S3.QuotaError", "it says how a full disk is reported: set S3.VolumeSize too")
	case h.BytesPerSecond < 0:
		return fieldError("S3.BytesPerSecond", "%d is negative", h.BytesPerSecond)
	}
	return nil
}

// transient403s are the ways in which the gateway refuses a good key.
var transient403s = []s3Refusal{
	{http.StatusForbidden, "AccessDenied", "Access Denied"},
	{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."},
	{http.StatusForbidden, "AccessDenied", "failed to fetch user keys"},
}

var transientErrors = []int{502, 503, 520, 524, 530}

// transient is the refusal that meets request number n while so many are under
// way, or nil.
func (h S3Habits) transient(seed uint64, n, many int) *s3Refusal {
	if h.TransientAbove == 0 && h.ErrorRate == 0 {
		return nil
	}
	r := draw(seed, drawS3, n)
	if h.TransientAbove > 0 && many > h.TransientAbove && r.IntN(3) == 0 {
		return &transient403s[n%len(transient403s)]
	}
	if r.Float64() < h.ErrorRate {
		return &s3Refusal{status: transientErrors[n%len(transientErrors)]}
	}
	return nil
}
