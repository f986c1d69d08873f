package runpodtest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/gpuburst/runpod-go/runpodtest"
)

var ctx = context.Background()

// put stores an object and returns its ETag, unquoted.
func (tw *twin) put(t *testing.T, key, body string) string {
	t.Helper()
	out, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(*out.ETag, `"`)
}

// get reads an object; change may add conditions.
func (tw *twin) get(key string, change ...func(*s3.GetObjectInput)) (body, etag string, err error) {
	in := &s3.GetObjectInput{Bucket: &tw.Bucket, Key: &key}
	for _, f := range change {
		f(in)
	}
	out, err := tw.s3().GetObject(ctx, in)
	if err != nil {
		return "", "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	return string(b), strings.Trim(aws.ToString(out.ETag), `"`), err
}

// refused checks an S3 error's code and status.
func refused(t *testing.T, err error, code string, status int) {
	t.Helper()
	var api smithy.APIError
	var resp interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || api.ErrorCode() != code || !errors.As(err, &resp) || resp.HTTPStatusCode() != status {
		t.Errorf("error %v, want %s with status %d", err, code, status)
	}
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestConformanceS3Objects(t *testing.T) {
	conform(t, "s3: an object is the worker's file, and the other way round (D)", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "inputs/a.jpg", "photo")
		if b, err := os.ReadFile(filepath.Join(tw.VolumeDir, "inputs/a.jpg")); string(b) != "photo" {
			t.Errorf("the file: %q, %v", b, err)
		}
		os.MkdirAll(filepath.Join(tw.VolumeDir, "results"), 0o755)
		os.WriteFile(filepath.Join(tw.VolumeDir, "results/b.png"), []byte("picture"), 0o644)
		if b, _, err := tw.get("results/b.png"); b != "picture" {
			t.Errorf("the object: %q, %v", b, err)
		}
	})
	conform(t, "s3: Put, Head, Copy, Get, Delete (D)", warm(), func(t *testing.T, tw *twin) {
		c := tw.s3()
		if etag := tw.put(t, "a/b.txt", "hello"); etag != md5hex("hello") {
			t.Errorf("ETag %s is not the MD5", etag)
		}
		head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &tw.Bucket, Key: aws.String("a/b.txt")})
		if err != nil || *head.ContentLength != 5 || *head.ETag != `"`+md5hex("hello")+`"` || head.LastModified.IsZero() {
			t.Errorf("head %+v, %v", head, err)
		}
		if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &tw.Bucket, Key: aws.String("copy"), CopySource: aws.String(tw.Bucket + "/a/b.txt")}); err != nil {
			t.Error(err)
		}
		if b, etag, err := tw.get("copy"); b != "hello" || etag != md5hex("hello") {
			t.Errorf("the copy: %q %s %v", b, etag, err)
		}
		for range 2 { // deleting what is not there is no error
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &tw.Bucket, Key: aws.String("copy")}); err != nil {
				t.Error(err)
			}
		}
		_, _, err = tw.get("copy")
		refused(t, err, "NoSuchKey", 404)
		_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &tw.Bucket, Key: aws.String("copy")})
		refused(t, err, "NotFound", 404)
	})
	conform(t, "s3: ranges and conditions", warm(), func(t *testing.T, tw *twin) {
		etag := tw.put(t, "k", "0123456789")
		rng := func(r string) func(*s3.GetObjectInput) { return func(in *s3.GetObjectInput) { in.Range = &r } }
		match := func(e string) func(*s3.GetObjectInput) { return func(in *s3.GetObjectInput) { in.IfMatch = &e } }
		for r, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-2": "89", "bytes=8-99": "89"} {
			if b, _, err := tw.get("k", rng(r), match(`"`+etag+`"`)); b != want {
				t.Errorf("%s: %q, %v", r, b, err)
			}
		}
		_, _, err := tw.get("k", rng("bytes=10-"))
		refused(t, err, "InvalidRange", 416)
		_, _, err = tw.get("k", match(`"`+md5hex("other")+`"`))
		refused(t, err, "PreconditionFailed", 412)
	})
	conform(t, "s3: If-Range of a changed object gives all of it", warm(), func(t *testing.T, tw *twin) {
		etag := tw.put(t, "k", "0123456789")
		ifRange := func(tag string) func(*s3.Options) {
			return s3.WithAPIOptions(addHeader("If-Range", `"`+tag+`"`))
		}
		for tag, want := range map[string]string{etag: "3456789", md5hex("other"): "0123456789"} {
			out, err := tw.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: &tw.Bucket, Key: aws.String("k"), Range: aws.String("bytes=3-")}, ifRange(tag))
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(out.Body); string(b) != want {
				t.Errorf("If-Range %s gave %q", tag, b)
			}
			out.Body.Close()
		}
	})
	conform(t, "s3: a worker's file has no MD5 ETag; one overwritten in place keeps the old (facts 4, notes)", warm(), func(t *testing.T, tw *twin) {
		file := filepath.Join(tw.VolumeDir, "r.png")
		os.WriteFile(file, []byte("made by a worker"), 0o644)
		if _, etag, err := tw.get("r.png"); err != nil || len(etag) == 32 {
			t.Errorf("ETag %s, %v", etag, err)
		}
		etag := tw.put(t, "in.txt", "one")
		os.WriteFile(filepath.Join(tw.VolumeDir, "in.txt"), []byte("two!"), 0o644)
		if b, now, _ := tw.get("in.txt"); b != "two!" || now != etag {
			t.Errorf("%q with ETag %s, was %s", b, now, etag)
		}
	})
	conform(t, "s3: names up to 255 bytes, '#', '=', spaces (R)", warm(), func(t *testing.T, tw *twin) {
		for _, key := range []string{"a b/c d.jpg", "x#1=2&3+4%20?.png", "ü/日本.txt", strings.Repeat("n", 255)} {
			tw.put(t, key, key)
			if b, _, err := tw.get(key); b != key {
				t.Errorf("%q: %q, %v", key, b, err)
			}
		}
		for _, key := range []string{strings.Repeat("n", 256), "../x", "a/../../x", "a//b", ".s3compat_uploads/x", "a/"} {
			_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: &key, Body: strings.NewReader("x")})
			if err == nil {
				t.Errorf("key %.20q was taken", key)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(tw.VolumeDir), "x")); left != nil {
			t.Errorf("a key left the folder: %v", left)
		}
	})
	conform(t, "s3: a key under a file is refused", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "x", "file")
		_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("x/y"), Body: strings.NewReader("x")})
		refused(t, err, "ObjectParentIsFile", 409)
	})
	conform(t, "s3: ListObjectsV2, pages, prefixes; ListObjects (D)", warm(), func(t *testing.T, tw *twin) {
		keys := []string{"a-b", "a.txt", "a/1", "a/2", "a/b/3", "b", "c/4"}
		for _, k := range keys {
			tw.put(t, k, k)
		}
		var got []string
		pages := s3.NewListObjectsV2Paginator(tw.s3(), &s3.ListObjectsV2Input{Bucket: &tw.Bucket, MaxKeys: aws.Int32(2)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Contents {
				got = append(got, *o.Key)
				if *o.ETag != `"`+md5hex(*o.Key)+`"` {
					t.Errorf("%s has ETag %s", *o.Key, *o.ETag)
				}
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("listed %v", got)
		}
		out, err := tw.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &tw.Bucket, Prefix: aws.String("a/"), Delimiter: aws.String("/")})
		if err != nil || len(out.Contents) != 2 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "a/b/" {
			t.Errorf("under a/: %+v, %v", out, err)
		}
		v1, err := tw.s3().ListObjects(ctx, &s3.ListObjectsInput{Bucket: &tw.Bucket})
		if err != nil || len(v1.Contents) != len(keys) {
			t.Errorf("ListObjects: %+v, %v", v1, err)
		}
	})
	conform(t, "s3: HeadBucket, ListBuckets (D)", warm(), func(t *testing.T, tw *twin) {
		if _, err := tw.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &tw.Bucket}); err != nil {
			t.Error(err)
		}
		_, err := tw.s3().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("other")})
		refused(t, err, "NotFound", 404)
		out, err := tw.s3().ListBuckets(ctx, &s3.ListBucketsInput{})
		if err != nil || len(out.Buckets) != 1 || *out.Buckets[0].Name != tw.Bucket {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestConformanceS3Trust(t *testing.T) {
	conform(t, "s3: keys of its own, wrong ones refused (D)", warm(), func(t *testing.T, tw *twin) {
		for code, keys := range map[string][2]string{
			"SignatureDoesNotMatch": {tw.AccessKeyID, "wrong"},
			"InvalidAccessKeyId":    {"nobody", tw.SecretAccessKey},
		} {
			c := tw.s3(func(o *s3.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider(keys[0], keys[1], "")
			})
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("k"), Body: strings.NewReader("x")})
			refused(t, err, code, 403)
		}
		resp, err := tw.http.Get(tw.S3URL + "/" + tw.Bucket + "/k")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("unsigned: status %d", resp.StatusCode)
		}
	})
	conform(t, "s3: not supported (D)", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "k", "x")
		c, key := tw.s3(), aws.String("k")
		for name, call := range map[string]func() error{
			"DeleteObjects": func() error {
				_, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &tw.Bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key}}}})
				return err
			},
			"ACLs": func() error {
				_, err := c.GetObjectAcl(ctx, &s3.GetObjectAclInput{Bucket: &tw.Bucket, Key: key})
				return err
			},
			"tags": func() error {
				_, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &tw.Bucket, Key: key})
				return err
			},
			"versions": func() error {
				_, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &tw.Bucket})
				return err
			},
			"GetBucketLocation": func() error {
				_, err := c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &tw.Bucket})
				return err
			},
			"CreateBucket": func() error {
				_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("another")})
				return err
			},
		} {
			t.Log(name)
			refused(t, call(), "NotImplemented", 501)
		}
		signed, err := s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &tw.Bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tw.http.Get(signed.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 501 {
			t.Errorf("presigned: status %d", resp.StatusCode)
		}
	})
	conform(t, "s3: Content-MD5 is honoured", warm(), func(t *testing.T, tw *twin) {
		for sum, ok := range map[string]bool{md5hex("hello"): true, md5hex("other"): false} {
			raw, _ := hex.DecodeString(sum)
			_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("k" + sum),
				Body: strings.NewReader("hello"), ContentMD5: aws.String(base64.StdEncoding.EncodeToString(raw))})
			if ok && err != nil {
				t.Error(err)
			}
			if !ok {
				refused(t, err, "BadDigest", 400)
				_, _, err = tw.get("k" + sum)
				refused(t, err, "NoSuchKey", 404)
			}
		}
	})
	conform(t, "s3: a body cut half way is never stored", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "k", "old")
		_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("k"),
			ContentLength: aws.Int64(1 << 20), Body: brokenBody{bytes.NewReader(make([]byte, 1<<20))}})
		if err == nil {
			t.Error("the broken upload succeeded")
		}
		time.Sleep(time.Second)
		if b, _, err := tw.get("k"); b != "old" {
			t.Errorf("stored %d bytes, %v", len(b), err)
		}
		if left, _ := filepath.Glob(filepath.Join(tw.VolumeDir, ".s3compat_uploads", "*")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	conform(t, "s3: a body that is not what was signed is refused", warm(), func(t *testing.T, tw *twin) {
		swap := func(o *s3.Options) { o.HTTPClient = swapBody{tw.http} }
		_, err := tw.s3(swap).PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("k"), Body: strings.NewReader("hello")})
		refused(t, err, "XAmzContentSHA256Mismatch", 400)
	})
	conform(t, "s3: checksum trailers (R: nothing certain; here they work)", warm(), func(t *testing.T, tw *twin) {
		c := tw.s3(func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported })
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("k"), Body: strings.NewReader("hello")}); err != nil {
			t.Fatal(err)
		}
		if b, etag, _ := tw.get("k"); b != "hello" || etag != md5hex("hello") {
			t.Errorf("stored %q, ETag %s", b, etag)
		}
	})
}

// brokenBody fails half way.
type brokenBody struct{ *bytes.Reader }

func (b brokenBody) Read(p []byte) (int, error) {
	if b.Len() <= 1<<19 {
		return 0, errors.New("the disk is gone")
	}
	return b.Reader.Read(p[:min(len(p), 1<<16)])
}

// Seek lets the SDK hash the body before it sends it; that part does not fail.
func (b brokenBody) Seek(off int64, whence int) (int64, error) { return b.Reader.Seek(off, whence) }

// swapBody sends other bytes than were signed.
type swapBody struct{ *http.Client }

func (s swapBody) Do(r *http.Request) (*http.Response, error) {
	r.Body = io.NopCloser(strings.NewReader(strings.Repeat("X", int(r.ContentLength))))
	return s.Client.Do(r)
}

func TestConformanceS3Multipart(t *testing.T) {
	create := func(t *testing.T, tw *twin, key string) *string {
		t.Helper()
		out, err := tw.s3().CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &tw.Bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		return out.UploadId
	}
	part := func(tw *twin, key string, id *string, n int32, body string) (types.CompletedPart, error) {
		out, err := tw.s3().UploadPart(ctx, &s3.UploadPartInput{Bucket: &tw.Bucket, Key: &key, UploadId: id, PartNumber: &n, Body: strings.NewReader(body)})
		if err != nil {
			return types.CompletedPart{}, err
		}
		return types.CompletedPart{PartNumber: &n, ETag: out.ETag}, nil
	}
	complete := func(tw *twin, key string, id *string, parts ...types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
		return tw.s3().CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &tw.Bucket, Key: &key, UploadId: id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	}
	// upload makes an upload of two parts, far below 5 MB, sent in reverse.
	upload := func(t *testing.T, tw *twin, key string) (*string, []types.CompletedPart) {
		t.Helper()
		id := create(t, tw, key)
		p2, err2 := part(tw, key, id, 2, "world")
		p1, err1 := part(tw, key, id, 1, "hello ")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return id, []types.CompletedPart{p1, p2}
	}
	conform(t, "s3 multipart: create, part, list parts, list uploads, complete (D); small parts (D); ETag md5-of-md5s-N (R)", warm(), func(t *testing.T, tw *twin) {
		if out, err := tw.s3().ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &tw.Bucket}); err != nil || len(out.Uploads) != 0 {
			t.Errorf("uploads before the first: %+v, %v", out, err)
		}
		id, parts := upload(t, tw, "big")
		if out, err := tw.s3().ListParts(ctx, &s3.ListPartsInput{Bucket: &tw.Bucket, Key: aws.String("big"), UploadId: id}); err != nil || len(out.Parts) != 2 || *out.Parts[1].Size != 5 {
			t.Errorf("parts: %+v, %v", out, err)
		}
		if out, err := tw.s3().ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &tw.Bucket}); err != nil || len(out.Uploads) != 1 {
			t.Errorf("uploads: %+v, %v", out, err)
		}
		out, err := complete(tw, "big", id, parts...)
		if err != nil {
			t.Fatal(err)
		}
		a, b := md5.Sum([]byte("hello ")), md5.Sum([]byte("world"))
		want := md5hex(string(a[:])+string(b[:])) + "-2"
		body, etag, err := tw.get("big")
		if body != "hello world" || etag != want || strings.Trim(*out.ETag, `"`) != want {
			t.Errorf("%q, ETag %s (complete said %s), want %s; %v", body, etag, *out.ETag, want, err)
		}
	})
	conform(t, "s3 multipart: unfinished parts are hidden (D), abort removes them", warm(), func(t *testing.T, tw *twin) {
		id, _ := upload(t, tw, "big")
		if out, err := tw.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &tw.Bucket}); err != nil || len(out.Contents) != 0 {
			t.Errorf("listed %+v, %v", out, err)
		}
		if _, err := tw.s3().AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &tw.Bucket, Key: aws.String("big"), UploadId: id}); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(tw.VolumeDir, ".s3compat_uploads", "*")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		_, err := part(tw, "big", id, 3, "late")
		refused(t, err, "NoSuchUpload", 404)
	})
	conform(t, "s3 multipart: wrong parts are refused, the upload stays", warm(), func(t *testing.T, tw *twin) {
		id, parts := upload(t, tw, "big")
		_, err := complete(tw, "big", id, parts[1], parts[0])
		refused(t, err, "InvalidPartOrder", 400)
		_, err = complete(tw, "big", id, types.CompletedPart{PartNumber: aws.Int32(1), ETag: parts[1].ETag})
		refused(t, err, "InvalidPart", 400)
		if _, err := complete(tw, "big", id, parts...); err != nil {
			t.Error(err)
		}
	})
	late := warm()
	late.S3.LateComplete, late.S3.ForgetsUploads = true, true
	conform(t, "s3 multipart: Complete answers 524 although it completes (D), then NoSuchUpload (R)", late, func(t *testing.T, tw *twin) {
		id, parts := upload(t, tw, "big")
		var resp interface{ HTTPStatusCode() int }
		if _, err := complete(tw, "big", id, parts...); !errors.As(err, &resp) || resp.HTTPStatusCode() != 524 {
			t.Errorf("error %v", err)
		}
		if body, _, err := tw.get("big"); body != "hello world" {
			t.Errorf("%q, %v", body, err)
		}
		_, err := complete(tw, "big", id, parts...)
		refused(t, err, "NoSuchUpload", 404)
	})
	small := warm()
	small.S3.PartLimit = 10
	conform(t, "s3 multipart: 413 above a part size (R)", small, func(t *testing.T, tw *twin) {
		id := create(t, tw, "big")
		if _, err := part(tw, "big", id, 1, "0123456789"); err != nil {
			t.Error(err)
		}
		_, err := part(tw, "big", id, 2, "0123456789X")
		refused(t, err, "EntityTooLarge", 413)
	})
}

func TestConformanceS3Habits(t *testing.T) {
	crowded := warm()
	crowded.S3.TransientAbove = 6
	conform(t, "s3 habit: transient 403s above a concurrency (R: a third at 16, none at 6)", crowded, func(t *testing.T, tw *twin) {
		for _, tt := range []struct{ threads, low, high int }{{6, 0, 0}, {16, 20, 110}} {
			tw.Fault(runpodtest.Fault{On: runpodtest.OnS3, Times: 15 * tt.threads, Do: runpodtest.Delay(time.Second)})
			bad := 0
			for _, g := range tw.parallel(tt.threads, func(i int) (g got) {
				for n := range 15 {
					_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String(fmt.Sprint(i, "-", n)), Body: strings.NewReader("x")})
					if err != nil {
						g.status++
					}
				}
				return g
			}) {
				bad += g.status
			}
			if bad < tt.low || bad > tt.high {
				t.Errorf("%d threads: %d of %d uploads refused", tt.threads, bad, 15*tt.threads)
			}
		}
	})
	stormy := warm()
	stormy.S3.ErrorRate = 1
	conform(t, "s3 habit: 502, 503, 520, 524, 530 (D, R)", stormy, func(t *testing.T, tw *twin) {
		seen := map[int]bool{}
		for range 10 {
			_, _, err := tw.get("k")
			var resp interface{ HTTPStatusCode() int }
			if errors.As(err, &resp) {
				seen[resp.HTTPStatusCode()] = true
			}
		}
		if len(seen) != 5 || !seen[502] || !seen[530] {
			t.Errorf("saw %v", seen)
		}
	})
	utc := warm()
	utc.S3.UTCDates = true
	conform(t, "s3 habit: Last-Modified in UTC fails the SDK's HEAD (R)", utc, func(t *testing.T, tw *twin) {
		tw.put(t, "k", "x")
		_, err := tw.s3().HeadObject(ctx, &s3.HeadObjectInput{Bucket: &tw.Bucket, Key: aws.String("k")})
		var resp interface{ HTTPStatusCode() int }
		if err == nil || !errors.As(err, &resp) || resp.HTTPStatusCode() != 200 {
			t.Errorf("error %v, want one about the date of a 200", err)
		}
	})
	for _, tt := range []struct {
		quota  bool
		code   string
		status int
	}{{false, "InsufficientStorage", 507}, {true, "QuotaExceeded", 403}} {
		disk := warm()
		disk.S3.VolumeSize, disk.S3.QuotaError = 10, tt.quota
		conform(t, "s3 habit: disk full, "+tt.code+" (R)", disk, func(t *testing.T, tw *twin) {
			tw.put(t, "a", "0123456789")
			_, err := tw.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("b"), Body: strings.NewReader("x")})
			refused(t, err, tt.code, tt.status)
		})
	}
	slow := warm()
	slow.S3.BytesPerSecond = 100
	conform(t, "s3 habit: slow bodies", slow, func(t *testing.T, tw *twin) {
		tw.put(t, "k", strings.Repeat("x", 1000))
		start := time.Now()
		if b, _, err := tw.get("k"); len(b) != 1000 || time.Since(start) != 10*time.Second {
			t.Errorf("%d bytes in %v, %v", len(b), time.Since(start), err)
		}
	})
	for _, tt := range []struct {
		name string
		do   runpodtest.Action
		keep int
	}{{"truncated bodies", runpodtest.TruncateReply(4), 4}, {"resets after N bytes", runpodtest.ResetReply(4), 0}} {
		conform(t, "s3 habit: "+tt.name, warm(), func(t *testing.T, tw *twin) {
			tw.put(t, "k", "0123456789")
			tw.Fault(runpodtest.Fault{On: runpodtest.OnS3, Method: "GET", Path: "k", Do: tt.do})
			if b, _, err := tw.get("k"); err == nil || len(b) < tt.keep || len(b) > 4 {
				t.Errorf("got %q, %v", b, err)
			}
			if b, _, err := tw.get("k"); b != "0123456789" {
				t.Errorf("afterwards %q, %v", b, err)
			}
		})
	}
	conform(t, "s3 account: connections opened and peak", warm(), func(t *testing.T, tw *twin) {
		for i := range 5 {
			tw.put(t, fmt.Sprint(i), "x")
		}
		if st := tw.Stats(); st.S3Conns.Opened != 1 || st.S3Conns.Peak != 1 || st.S3Requests != 5 {
			t.Errorf("got %+v", st)
		}
	})
}
