package runpod

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// head looks at an object: what it is, and our id where it carries one.
func (v *volume) head(ctx context.Context, op, key string) (obj Object, own string, err error) {
	t, ctx := v.begin(ctx, op)
	out, err := v.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &v.bucket, Key: &key},
		func(o *s3.Options) { o.Retryer = t })
	if err != nil {
		return Object{}, "", t.fail(err)
	}
	obj = Object{Key: key, Size: -1, ETag: trimETag(out.ETag)}
	if out.ContentLength != nil {
		obj.Size = *out.ContentLength
	}
	for name, value := range out.Metadata {
		if strings.EqualFold(name, ownID) {
			own = value
		}
	}
	return obj, own, nil
}

// errOther says that what is stored is not what we have sent.
var errOther = errors.New("what is stored under the key is not what was uploaded")

// confirm looks whether an object is the one that was uploaded under our id:
// by the id where the store keeps metadata, by its ETag where not, and always
// by its size.
func (v *volume) confirm(ctx context.Context, op string, want Object, own string) (Object, error) {
	obj, id, err := v.head(ctx, op, want.Key)
	if err != nil {
		return Object{}, err
	}
	same := strings.EqualFold(obj.ETag, want.ETag)
	known := want.ETag != "" && looksLikeParts(obj.ETag) // the ETags can be compared
	switch {
	case id != "" && id != own, id == "" && !same, obj.Size != want.Size, known && !same:
		return Object{}, &Error{Op: op, Kind: ErrIntegrity, Err: fmt.Errorf("%w: it has %d bytes and ETag %s, not %d and %s",
			errOther, obj.Size, obj.ETag, want.Size, want.ETag)}
	}
	return obj, nil
}

// isNotYet reports whether a look has found nothing, or something older.
func isNotYet(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, errOther) }
