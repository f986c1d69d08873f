package runpod

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// transferView is a transfer as its observers see it, shared by all its requests.
// Nil, which it is if there are no observers, does nothing.
type transferView struct {
	all      observers
	bucket   string
	info     TransferInfo
	seen     span
	attempts atomic.Int64
	parts    atomic.Int64 // that were moved
	waited   atomic.Int64 // for places, in nanoseconds
}

// viewTransfer begins a transfer for the observers. It goes on in the context
// that they return.
func viewTransfer(ctx context.Context, all observers, bucket, operation, key string) (context.Context, *transferView) {
	if len(all) == 0 {
		return ctx, nil
	}
	v := &transferView{all: all, bucket: bucket, info: TransferInfo{Operation: operation, Key: key}}
	ctx, v.seen = openSpan(ctx, all, v.info, func(o *Observer) func(context.Context, TransferInfo) context.Context { return o.TransferStart })
	return ctx, v
}

// endTransfer ends the transfer for the observers.
func (v *transferView) endTransfer(bytes int64, err error) {
	if v == nil {
		return
	}
	v.info.Bytes, v.info.Err = bytes, err
	v.info.Attempts, v.info.Parts = int(v.attempts.Load()), int(v.parts.Load())
	v.info.Waited = time.Duration(v.waited.Load())
	closeSpan(v.seen, v.all, v.info, func(o *Observer) func(context.Context, TransferInfo) { return o.TransferEnd })
}

// waitedFor notes a wait for a place.
func (v *transferView) waitedFor(d time.Duration) {
	if v != nil {
		v.waited.Add(int64(d))
	}
}

// s3View is a request to the gateway as its observers see it.
type s3View struct {
	of   *transferView
	info S3AttemptInfo
	seen span
}

// attempt begins a request for the observers, and returns the context that it is
// sent with. operation is its name in the S3 API, number is that of the request
// within its operation.
func (v *transferView) attempt(ctx context.Context, operation string, number int, req *http.Request) (context.Context, *s3View) {
	if v == nil {
		return ctx, nil
	}
	v.attempts.Add(1)
	query := req.URL.Query()
	part, _ := strconv.Atoi(query.Get("partNumber"))
	a := &s3View{of: v, info: S3AttemptInfo{
		Operation: operation, Bucket: v.bucket, Key: v.info.Key, URL: withoutQuery(req.URL), Part: part, Number: number,
	}}
	if v.info.Operation == "list" {
		a.info.Key = ""
	}
	ctx, a.seen = openSpan(ctx, v.all, a.info, func(o *Observer) func(context.Context, S3AttemptInfo) context.Context { return o.S3AttemptStart })
	return ctx, a
}

// endRequest ends a request for the observers. It does nothing the second time.
func (a *s3View) endRequest(record *Attempt, code string) {
	if a == nil || a.seen == nil {
		return
	}
	a.info.Status, a.info.Code, a.info.Verdict, a.info.Err = record.Status, code, record.Verdict, record.Err
	if moves := strings.HasPrefix(a.info.Operation, "UploadPart") || a.info.Operation == "PutObject" || a.info.Operation == "GetObject"; moves && record.Verdict == VerdictDeliver {
		a.of.parts.Add(1)
	}
	seen := a.seen
	a.seen = nil
	closeSpan(seen, a.of.all, a.info, func(o *Observer) func(context.Context, S3AttemptInfo) { return o.S3AttemptEnd })
}
