package runpod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ownID is the name of the metadata that says whose an object is. It is a
// random text for each upload in parts.
const ownID = "runpod-go-upload"

// headObject looks at an object: what it is, and our id if it carries one.
func headObject(ctx context.Context, k task, key string) (obj Object, own string, err error) {
	t := k.transfer(ctx)
	out, err := perform(t, k.gw.client.HeadObject, &s3.HeadObjectInput{Bucket: &k.gw.bucket, Key: &key})
	if err != nil {
		return Object{}, "", t.failure(err)
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

// confirmObject looks whether an object is the one that was uploaded under our
// id. The id decides if the store keeps metadata, and one of etags if not: those
// that it can have. The size must be right if it is said.
func confirmObject(ctx context.Context, k task, want Object, own string, etags ...string) (Object, error) {
	obj, id, err := headObject(ctx, k, want.Key)
	if err != nil {
		return Object{}, err
	}
	ours := id == own
	if id == "" {
		ours = obj.ETag != "" && slices.ContainsFunc(etags, func(e string) bool { return strings.EqualFold(e, obj.ETag) })
	}
	if !ours || obj.Size >= 0 && obj.Size != want.Size {
		return Object{}, &Error{Op: k.op, Kind: ErrIntegrity, Err: fmt.Errorf("%w: it has %d bytes and ETag %.100q, not %d and %q",
			errOther, obj.Size, obj.ETag, want.Size, want.ETag)}
	}
	obj.Size = want.Size
	return obj, nil
}

// isNotYet reports whether a look has found nothing, or something older.
func isNotYet(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, errOther) }

// deleteObject removes an object. It is no error if the gateway says that there
// is none; a 404 that says something else, or nothing, is.
func deleteObject(ctx context.Context, k task, key string) (err error) {
	ctx, k = k.observed(ctx, "delete", key)
	defer func() { k.ended(0, err) }()
	t := k.transfer(ctx)
	_, err = perform(t, k.gw.client.DeleteObject, &s3.DeleteObjectInput{Bucket: &k.gw.bucket, Key: &key})
	if err == nil || apiCode(err) == "NoSuchKey" {
		return nil
	}
	return t.failure(err)
}

func trimETag(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }
