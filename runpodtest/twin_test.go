package runpodtest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// twin is a server with a client that knows nothing but net/http.
type twin struct {
	*runpodtest.Server
	http *http.Client
}

// newTwin starts a server; it and the client's connections end with the test.
func newTwin(t testing.TB, cfg runpodtest.Config) *twin {
	t.Helper()
	srv, err := runpodtest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: srv.DialContext, MaxIdleConnsPerHost: 3000}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return &twin{srv, &http.Client{Transport: tr}}
}

// got is one answer, read whole.
type got struct {
	status int
	worker string
	body   string
	header http.Header
	took   time.Duration
	err    error
}

// send makes one request, with the key unless a header says otherwise. header is
// pairs of name and value.
func (tw *twin) send(method, path, body string, header ...string) got {
	req, err := http.NewRequest(method, tw.EndpointURL+path, strings.NewReader(body))
	if err != nil {
		return got{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+tw.APIKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	start := time.Now()
	resp, err := tw.http.Do(req)
	if err != nil {
		return got{err: err, took: time.Since(start)}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header.Get("X-Runpod-Worker-Id"), string(b), resp.Header, time.Since(start), err}
}

// s3 is the AWS SDK's client for the volume: one attempt, no checksums of its
// own.
func (tw *twin) s3(change ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(tw.S3URL), Region: tw.Region, UsePathStyle: true, HTTPClient: tw.http,
		Credentials:                credentials.NewStaticCredentialsProvider(tw.AccessKeyID, tw.SecretAccessKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Retryer:                    aws.NopRetryer{},
	}, change...)
}

// addHeader adds a header to an S3 request before it is signed.
func addHeader(name, value string) func(*middleware.Stack) error {
	return smithyhttp.AddHeaderValue(name, value)
}
