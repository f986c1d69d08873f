//lint:file-ignore SA1019 a rival is measured whether it is deprecated or not

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	runpod "github.com/gpuburst/runpod-go"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	accessKey = "user_bench"
	secretKey = "rps_bench"
	region    = "EU-RO-1"
	bucket    = "vol"
	partSize  = 64 << 20
)

// uploader stores one object. Data is nil where the task names a file.
type uploader interface {
	put(ctx context.Context, t task, data []byte) error
}

// goClients are those written in Go, by name. Each gets a transport that opens
// no more connections than the workload has.
var goClients = map[string]func(s *settings) (uploader, error){
	"bare":            newBare,
	"runpod":          func(s *settings) (uploader, error) { return newRunpod(s) },
	"runpod-md5":      func(s *settings) (uploader, error) { return newRunpod(s, runpod.WithChecksum(runpod.ChecksumMD5)) },
	"sdk":             func(s *settings) (uploader, error) { return newSDK(s), nil },
	"sdk-crc32c":      newSDKProtected,
	"sdk-defaults":    newSDKDefaults,
	"manager":         newManager,
	"transfermanager": newTransferManager,
	"minio-go":        newMinio,
}

type settings struct {
	url      string
	conns    int
	prepared []byte // a part's worth, for who sends nothing else
	opened   atomic.Int64
}

func (s *settings) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.opened.Add(1)
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func (s *settings) transport() *http.Transport {
	return &http.Transport{DialContext: s.dial, MaxConnsPerHost: s.conns, MaxIdleConnsPerHost: s.conns,
		WriteBufferSize: 64 << 10, DisableCompression: true, ExpectContinueTimeout: time.Second}
}

// content opens a task's bytes, to be read from any place.
func (t task) content(data []byte) (io.ReadSeekCloser, error) {
	if data != nil {
		return nopCloser{bytes.NewReader(data)}, nil
	}
	return os.Open(t.Path)
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// bare does nothing but write prepared bytes: one PUT for each part's worth,
// signed without its body, no checksum.
type bare struct {
	s      *settings
	client *http.Client
	signer *v4.Signer
}

func newBare(s *settings) (uploader, error) {
	return &bare{s: s, client: &http.Client{Transport: s.transport()}, signer: v4.NewSigner()}, nil
}

func (b *bare) put(ctx context.Context, t task, _ []byte) error {
	var wg sync.WaitGroup
	n := int((t.Size + partSize - 1) / partSize)
	errs := make([]error, n)
	for i := range n {
		size := min(partSize, t.Size-int64(i)*partSize)
		wg.Go(func() { errs[i] = b.putOne(ctx, fmt.Sprintf("%s.%d", t.Key, i), b.s.prepared[:size]) })
	}
	wg.Wait()
	return firstOf(errs)
}

func (b *bare) putOne(ctx context.Context, key string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, "PUT", b.s.url+"/"+bucket+"/"+key, bytes.NewReader(body))
	if err != nil {
		return err
	}
	const hash = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if err := b.signer.SignHTTP(ctx, aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, req, hash, "s3", region, time.Now()); err != nil {
		return err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

type runpodClient struct{ c *runpod.Client }

func newRunpod(s *settings, opts ...runpod.Option) (uploader, error) {
	c, err := runpod.New(append(opts, runpod.WithS3Endpoint(s.url, region, bucket), runpod.WithS3Credentials(accessKey, secretKey),
		runpod.WithS3Conns(s.conns), runpod.WithDialContext(s.dial))...)
	return &runpodClient{c}, err
}

func (r *runpodClient) put(ctx context.Context, t task, data []byte) error {
	in := runpod.File(t.Path)
	if data != nil {
		in = runpod.Bytes(t.Key, data)
	}
	_, err := r.c.Upload(ctx, t.Key, in)
	return err
}

func s3Client(s *settings, opts ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &s.url, Region: region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		HTTPClient:  &http.Client{Transport: s.transport()}}, opts...)
}

// unsigned leaves the body out of the signature, as over TLS.
func unsigned(o *s3.Options) {
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		if _, ok := stack.Finalize.Get((&v4.ComputePayloadSHA256{}).ID()); !ok {
			return nil
		}
		return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(stack)
	})
}

// sdk is PutObject and UploadPart over one pool.
type sdk struct {
	c       *s3.Client
	protect bool // each body by a CRC32C ahead of it
}

func newSDK(s *settings) *sdk { return &sdk{c: s3Client(s, unsigned)} }

// newSDKProtected sends what the library sends. The checksum is taken here: over
// http the SDK would take a SHA-256 with it.
func newSDKProtected(s *settings) (uploader, error) {
	return &sdk{s3Client(s, unsigned), true}, nil
}

func newSDKDefaults(s *settings) (uploader, error) {
	return &sdk{c: s3Client(s, func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported })}, nil
}

func (c *sdk) put(ctx context.Context, t task, data []byte) error {
	f, err := t.content(data)
	if err != nil {
		return err
	}
	defer f.Close()
	if t.Size <= partSize {
		sum, err := c.sum(f)
		if err == nil {
			_, err = c.c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &t.Key, Body: f, ContentLength: &t.Size, ChecksumCRC32C: sum})
		}
		return err
	}
	return c.parts(ctx, t, f.(io.ReaderAt))
}

// sum reads a body to its end and goes back to its beginning.
func (c *sdk) sum(body io.ReadSeeker) (*string, error) {
	if !c.protect {
		return nil, nil
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{body}, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	_, err := body.Seek(0, io.SeekStart)
	return aws.String(base64.StdEncoding.EncodeToString(h.Sum(nil))), err
}

func (c *sdk) parts(ctx context.Context, t task, f io.ReaderAt) error {
	var algorithm types.ChecksumAlgorithm
	if c.protect {
		algorithm = types.ChecksumAlgorithmCrc32c
	}
	made, err := c.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &t.Key, ChecksumAlgorithm: algorithm})
	if err != nil {
		return err
	}
	n := int((t.Size + partSize - 1) / partSize)
	done, errs := make([]types.CompletedPart, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			offset := int64(i) * partSize
			size := min(partSize, t.Size-offset)
			body := io.NewSectionReader(f, offset, size)
			sum, err := c.sum(body)
			if errs[i] = err; err != nil {
				return
			}
			out, err := c.c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String(bucket), Key: &t.Key, UploadId: made.UploadId,
				PartNumber: aws.Int32(int32(i + 1)), ContentLength: &size, Body: body, ChecksumCRC32C: sum})
			if errs[i] = err; err == nil {
				done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C}
			}
		})
	}
	wg.Wait()
	if err := firstOf(errs); err != nil {
		return err
	}
	_, err = c.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: &t.Key, UploadId: made.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done}})
	return err
}

type managerClient struct{ u *manager.Uploader }

func newManager(s *settings) (uploader, error) {
	return &managerClient{manager.NewUploader(s3Client(s, unsigned), func(u *manager.Uploader) {
		u.Concurrency, u.PartSize = s.conns, partSize
		u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})}, nil
}

func (m *managerClient) put(ctx context.Context, t task, data []byte) error {
	f, err := t.content(data)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = m.u.Upload(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &t.Key, Body: f})
	return err
}

type transferManager struct{ c *transfermanager.Client }

func newTransferManager(s *settings) (uploader, error) {
	return &transferManager{transfermanager.New(s3Client(s, unsigned), func(o *transfermanager.Options) {
		o.Concurrency = s.conns
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})}, nil
}

func (m *transferManager) put(ctx context.Context, t task, data []byte) error {
	f, err := t.content(data)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = m.c.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: aws.String(bucket), Key: &t.Key, Body: f})
	return err
}

type minioClient struct {
	c     *minio.Client
	conns uint
}

func newMinio(s *settings) (uploader, error) {
	c, err := minio.New(s.url[len("http://"):], &minio.Options{Creds: miniocredentials.NewStaticV4(accessKey, secretKey, ""), Region: region,
		Transport: s.transport(), BucketLookup: minio.BucketLookupPath})
	return &minioClient{c, uint(s.conns)}, err
}

func (m *minioClient) put(ctx context.Context, t task, data []byte) error {
	f, err := t.content(data)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = m.c.PutObject(ctx, bucket, t.Key, f, t.Size, minio.PutObjectOptions{PartSize: partSize, NumThreads: m.conns})
	return err
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
