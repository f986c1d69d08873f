package runpod

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// list yields the objects whose keys begin with a prefix. Each page is an
// operation of its own: a consumer that is slow does not hold up Close.
func (s *store) list(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	op := opOn("list", prefix)
	return listPages(prefix, func(l *listing) ([]listedObject, error) {
		o, err := s.begin(ctx, op)
		if err != nil {
			return nil, err
		}
		defer o.end()
		return l.page(o, s.volume.gw.newTask(o, op))
	})
}

// objects yields the objects whose keys begin with a prefix, within an operation
// that somebody else has begun.
func (v *volume) objects(ctx context.Context, op, prefix string) iter.Seq2[Object, error] {
	return listAs(ctx, v.gw.newTask(ctx, op), prefix)
}

func listAs(ctx context.Context, k task, prefix string) iter.Seq2[Object, error] {
	return listPages(prefix, func(l *listing) ([]listedObject, error) { return l.page(ctx, k) })
}

// listPages asks for a page after the other, as the loop gets there.
func listPages(prefix string, page func(*listing) ([]listedObject, error)) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		l := newListing(prefix)
		for !l.end {
			objects, err := page(l)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, obj := range objects {
				if !yield(obj.Object, nil) {
					return
				}
			}
		}
	}
}

// listing is how far a listing has come.
type listing struct {
	prefix   string
	token    string          // of the next page; "": it goes on after last
	tokens   map[string]bool // those that came already
	pages    map[string]bool // likewise, by their first and last keys
	empty    int             // pages in a row without an object
	last     string          // the greatest key so far
	unsorted bool            // a key came after a greater one
	repeated bool            // a token was repeated: keys up to last are known
	stuckAt  string          // last, when a token was last repeated
	end      bool
}

func newListing(prefix string) *listing {
	return &listing{prefix: prefix, tokens: map[string]bool{}, pages: map[string]bool{}}
}

// listedObject is an object and what else a listing says of it.
type listedObject struct {
	Object
	age time.Duration // since it was written, by the gateway's clock; -1: not said
}

const (
	// listStalls: the gateway first computes the checksums of files that workers
	// wrote, minutes for large folders in which no byte moves (Runpod docs).
	listStalls = 10
	// maxEmpty is how many pages in a row may have no object and yet say that
	// more come.
	maxEmpty = 100
)

// page asks for the next page and returns its objects.
func (l *listing) page(ctx context.Context, k task) (objects []listedObject, err error) {
	ctx, k = k.observed(ctx, "list", l.prefix)
	defer func() { k.ended(0, err) }()
	t := k.transfer(ctx)
	t.stall = listStalls * k.gw.policy.Stall
	out, err := perform(t, k.gw.client.ListObjectsV2, l.request(k.gw.bucket))
	if err != nil {
		return nil, t.failure(err)
	}
	if err := l.circles(out.Contents); err != nil {
		return nil, t.failure(err)
	}
	objects = l.fresh(out.Contents, t.now())
	if err := l.goOn(out); err != nil {
		return nil, t.failure(err)
	}
	return objects, nil
}

// request asks for keys that are URL-encoded: XML has no way to write some of
// the characters that keys may have.
func (l *listing) request(bucket string) *s3.ListObjectsV2Input {
	in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &l.prefix, EncodingType: types.EncodingTypeUrl}
	switch {
	case l.token != "":
		in.ContinuationToken = aws.String(l.token)
	case l.last != "":
		in.StartAfter = aws.String(l.last)
	}
	return in
}

// circles fails if a page came before, or if too many had nothing in them. A
// page that is asked for again because its token was repeated may come again.
func (l *listing) circles(page []types.Object) error {
	if len(page) == 0 {
		if l.empty++; l.empty > maxEmpty {
			return fmt.Errorf("the listing does not go on after %q: %d pages in a row were empty", l.last, l.empty)
		}
		return nil
	}
	l.empty = 0
	span := aws.ToString(page[0].Key) + "\x00" + aws.ToString(page[len(page)-1].Key)
	if l.pages[span] && !l.repeated {
		return fmt.Errorf("the listing does not go on after %q: the page from %q came before", l.last, aws.ToString(page[0].Key))
	}
	l.pages[span] = true
	return nil
}

// fresh returns the objects of a page that did not come before.
func (l *listing) fresh(page []types.Object, now time.Time) []listedObject {
	objects := make([]listedObject, 0, len(page))
	for _, o := range page {
		key := aws.ToString(o.Key)
		if l.repeated && key <= l.last {
			continue
		}
		l.unsorted = l.unsorted || key < l.last
		l.last = max(l.last, key)
		obj := listedObject{Object: Object{Key: key, Size: aws.ToInt64(o.Size), ETag: trimETag(o.ETag)}, age: -1}
		if o.LastModified != nil {
			obj.age = max(0, now.Sub(*o.LastModified))
		}
		objects = append(objects, obj)
	}
	return objects
}

// goOn finds where the next page begins.
func (l *listing) goOn(out *s3.ListObjectsV2Output) error {
	next := aws.ToString(out.NextContinuationToken)
	switch {
	case !aws.ToBool(out.IsTruncated):
		l.end = true
		return nil
	case next != "" && !l.tokens[next]:
		l.tokens[next], l.token = true, next
		return nil
	case l.unsorted || l.repeated && l.last == l.stuckAt:
		return fmt.Errorf("the listing does not go on after %q: its token came before", l.last)
	}
	l.token, l.repeated, l.stuckAt = "", true, l.last
	return nil
}
