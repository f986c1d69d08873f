package runpodtest_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// list returns a listing's keys and common prefixes, in one order.
func (tw *twin) list(t *testing.T, in *s3.ListObjectsV2Input, change ...func(*s3.Options)) []string {
	t.Helper()
	in.Bucket = &tw.Bucket
	out, err := tw.s3().ListObjectsV2(ctx, in, change...)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, o := range out.Contents {
		all = append(all, *o.Key)
	}
	for _, p := range out.CommonPrefixes {
		all = append(all, *p.Prefix)
	}
	slices.Sort(all)
	return all
}

// What other people's clients send and expect.
func TestConformanceS3Clients(t *testing.T) {
	conform(t, "s3: an empty delimiter is no delimiter, as rclone sends it", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "a/b", "1")
		tw.put(t, "c", "2")
		for _, in := range []*s3.ListObjectsV2Input{
			{Delimiter: aws.String("")},
			{Delimiter: aws.String(""), Prefix: aws.String(""), StartAfter: aws.String("")},
		} {
			if got := tw.list(t, in); !slices.Equal(got, []string{"a/b", "c"}) {
				t.Errorf("listed %q", got)
			}
		}
		out, err := tw.s3().ListObjects(ctx, &s3.ListObjectsInput{Bucket: &tw.Bucket, Delimiter: aws.String(""), Marker: aws.String("")})
		if err != nil || len(out.Contents) != 2 || len(out.CommonPrefixes) != 0 {
			t.Errorf("version 1: %+v, %v", out, err)
		}
	})
	conform(t, "s3: a delimiter folds keys after the prefix, whatever its length", warm(), func(t *testing.T, tw *twin) {
		for _, key := range []string{"a/b/c", "a/d", "ab", "x--y--z"} {
			tw.put(t, key, "1")
		}
		for _, tt := range []struct {
			prefix, delimiter string
			want              []string
		}{
			{"", "/", []string{"a/", "ab", "x--y--z"}},
			{"a", "/", []string{"a/", "ab"}},
			{"a/", "/", []string{"a/b/", "a/d"}},
			{"a/b", "/", []string{"a/b/"}},
			{"", "--", []string{"a/b/c", "a/d", "ab", "x--"}},
		} {
			got := tw.list(t, &s3.ListObjectsV2Input{Prefix: &tt.prefix, Delimiter: &tt.delimiter})
			if !slices.Equal(got, tt.want) {
				t.Errorf("prefix %q, delimiter %q: %q, want %q", tt.prefix, tt.delimiter, got, tt.want)
			}
		}
	})
	conform(t, "s3: encoding-type=url encodes keys, prefixes and the delimiter", warm(), func(t *testing.T, tw *twin) {
		tw.put(t, "a b/c+d", "1")
		tw.put(t, "e f", "2")
		in := &s3.ListObjectsV2Input{Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl}
		if got := tw.list(t, in); !slices.Equal(got, []string{"a+b/", "e+f"}) && !slices.Equal(got, []string{"a%20b/", "e%20f"}) {
			t.Errorf("listed %q", got)
		}
	})
	conform(t, "s3: an empty folder is listed, a full one is not (D; its key, I)", warm(), func(t *testing.T, tw *twin) {
		os.MkdirAll(filepath.Join(tw.VolumeDir, "empty/deep"), 0o755)
		tw.put(t, "full/file", "1")
		if got := tw.list(t, &s3.ListObjectsV2Input{}); !slices.Equal(got, []string{"empty/deep/", "full/file"}) {
			t.Errorf("listed %q", got)
		}
		if got := tw.list(t, &s3.ListObjectsV2Input{Delimiter: aws.String("/")}); !slices.Equal(got, []string{"empty/", "full/"}) {
			t.Errorf("folded %q", got)
		}
		if got := tw.list(t, &s3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("empty/")}); !slices.Equal(got, []string{"empty/deep/"}) {
			t.Errorf("below: %q", got)
		}
	})
	conform(t, "s3: a key that ends in a slash is a folder (I)", warm(), func(t *testing.T, tw *twin) {
		c := tw.s3()
		if etag := tw.put(t, "made/", ""); etag != md5hex("") {
			t.Errorf("ETag %s", etag)
		}
		if info, err := os.Stat(filepath.Join(tw.VolumeDir, "made")); err != nil || !info.IsDir() {
			t.Fatalf("on the volume: %v, %v", info, err)
		}
		head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &tw.Bucket, Key: aws.String("made/")})
		if err != nil || aws.ToInt64(head.ContentLength) != 0 {
			t.Errorf("head %+v, %v", head, err)
		}
		if body, _, err := tw.get("made/"); body != "" || err != nil {
			t.Errorf("get %q, %v", body, err)
		}
		_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: &tw.Bucket, Key: aws.String("data/"), Body: strings.NewReader("x")})
		refused(t, err, "InvalidArgument", 400)
		tw.put(t, "made/file", "1")
		_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &tw.Bucket, Key: aws.String("made/")})
		refused(t, err, "FolderNotEmpty", 409)
		for _, key := range []string{"made/file", "made/", "made/"} {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &tw.Bucket, Key: &key}); err != nil {
				t.Errorf("delete %s: %v", key, err)
			}
		}
		if got := tw.list(t, &s3.ListObjectsV2Input{}); len(got) != 0 {
			t.Errorf("left %q", got)
		}
	})
	conform(t, "s3: the signature's region is the data center's, in either case (R; the answer, I)", warm(), func(t *testing.T, tw *twin) {
		for region, want := range map[string]bool{"EU-RO-1": true, "eu-ro-1": true, "us-east-1": false, "US-KS-2": false} {
			_, err := tw.s3(func(o *s3.Options) { o.Region = region }).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &tw.Bucket})
			if want != (err == nil) {
				t.Errorf("%s: %v", region, err)
			}
			if !want && (!strings.Contains(err.Error(), region) || !strings.Contains(err.Error(), "expecting 'EU-RO-1'")) {
				t.Errorf("%s: the error does not say which is right: %v", region, err)
			}
		}
	})
	conform(t, "s3: a part in chunks with a checksum behind it, as the newest AWS clients send it", warm(), func(t *testing.T, tw *twin) {
		c := tw.s3()
		key := "big"
		made, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &tw.Bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		// The length is left out, as over https by boto3.
		part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &tw.Bucket, Key: &key, UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("hello")},
			s3.WithAPIOptions(inChunks("hello")))
		if err != nil {
			t.Fatal(err)
		}
		done := &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}}
		if _, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &tw.Bucket, Key: &key, UploadId: made.UploadId, MultipartUpload: done}); err != nil {
			t.Fatal(err)
		}
		if body, _, err := tw.get(key); body != "hello" {
			t.Errorf("stored %q, %v", body, err)
		}
	})
	conform(t, "s3: errors have S3's words", warm(), func(t *testing.T, tw *twin) {
		c := tw.s3()
		id, key := "nobody", "k"
		for want, call := range map[string]func() error{
			"The specified key does not exist.": func() error {
				_, _, err := tw.get("nothing")
				return err
			},
			"The specified upload does not exist.": func() error {
				_, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: &tw.Bucket, Key: &key, UploadId: &id})
				return err
			},
			"The specified bucket does not exist": func() error {
				_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &id})
				return err
			},
			"The request signature we calculated does not match": func() error {
				_, err := tw.s3(func(o *s3.Options) { o.Credentials = wrongSecret(tw) }).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &tw.Bucket})
				return err
			},
		} {
			if err := call(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q in it", err, want)
			}
		}
	})
}

// TestEndpointNameUnderV2IsWrong sends a job to an endpoint that is not there:
// the worker must not answer.
func TestEndpointNameUnderV2IsWrong(t *testing.T) {
	tw := newTwin(t, runpodtest.Config{MinWorkers: 1, ServiceTime: runpodtest.Fixed(0)})
	for _, path := range []string{"run", "runsync", "status/x", "stream/x", "cancel/x", "health", "batch", "batch/x/finalize", "purge-queue"} {
		if g := tw.send("POST", "/v2/another/"+path, `{"input":1}`); g.status != 404 || g.worker != "" {
			t.Errorf("/v2/another/%s: %d from %q", path, g.status, g.worker)
		}
	}
	if g := tw.send("POST", "/v2/models/mine/infer", "{}"); g.status != 200 || g.worker == "" {
		t.Errorf("a worker's own /v2 route: %d from %q", g.status, g.worker)
	}
}

// wrongSecret is the key's id with another secret.
func wrongSecret(tw *twin) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(tw.AccessKeyID, "wrong", "")
}

// inChunks sends a body as aws-chunked with a checksum trailer, unsigned, in HTTP
// chunks.
func inChunks(body string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("inChunks", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
			req := in.Request.(*smithyhttp.Request)
			sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body)))
			text := fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(body), body, base64.StdEncoding.EncodeToString(sum))
			req, err := req.SetStream(struct{ io.Reader }{strings.NewReader(text)})
			req.ContentLength = -1
			req.Header.Set("Content-Encoding", "aws-chunked")
			req.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(body)))
			req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
			in.Request = req
			out, meta, nerr := next.HandleBuild(v4.SetPayloadHash(ctx, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), in)
			return out, meta, errors.Join(err, nerr)
		}), middleware.After)
	}
}
