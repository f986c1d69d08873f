package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gpuburst/runpod-go/runpodtest"
)

const region = "EU-RO-1"

// store is what is uploaded to. Its objects are the files of a folder.
type store struct {
	name                string
	url, access, secret string
	bucket, folder      string
	client              *s3.Client // another's eyes
	stop                func()
}

// startStore starts versitygw over a folder where it is installed, otherwise
// the simulation of a network volume.
func startStore(ctx context.Context, dir string) (s *store, err error) {
	if path := findVersitygw(); path != "" {
		s, err = startVersitygw(path, filepath.Join(dir, "volume"))
	} else {
		s, err = startSimulation(filepath.Join(dir, "volume"))
	}
	if err != nil {
		return nil, err
	}
	s.client = s3.New(s3.Options{BaseEndpoint: &s.url, Region: region, UsePathStyle: true,
		Retryer:     retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 100, 50*time.Millisecond }),
		Credentials: credentials.NewStaticCredentialsProvider(s.access, s.secret, ""), HTTPClient: &http.Client{Transport: &http.Transport{}}})
	if s.bucket == "" {
		s.bucket = "vol"
		s.folder = filepath.Join(s.folder, s.bucket)
		err = s.makeBucket(ctx)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func findVersitygw() string {
	path, err := exec.LookPath("versitygw")
	if err != nil {
		gopath, _ := exec.Command("go", "env", "GOPATH").Output()
		path, _ = exec.LookPath(filepath.Join(strings.TrimSpace(string(gopath)), "bin", "versitygw"))
	}
	return path
}

func startVersitygw(path, folder string) (*store, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	s := &store{name: "versitygw", url: "http://" + addr, access: "user_bench", secret: "rps_bench", folder: folder}
	cmd := exec.Command(path, "--port", addr, "--region", region, "--keep-alive", "--quiet", "posix", folder)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.access, "ROOT_SECRET_KEY="+s.secret)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return s, nil
}

func startSimulation(folder string) (*store, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	srv, err := runpodtest.NewServer(runpodtest.Config{Loopback: true, VolumeDir: folder})
	if err != nil {
		return nil, err
	}
	return &store{name: "the simulation (versitygw is not installed)", url: srv.S3URL, access: srv.AccessKeyID, secret: srv.SecretAccessKey,
		bucket: srv.Bucket, folder: srv.VolumeDir, stop: func() { srv.Close() }}, nil
}

// makeBucket tries until the server listens.
func (s *store) makeBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.bucket})
	return err
}

// unfinished are the uploads of a key that the store has not ended.
func (s *store) unfinished(ctx context.Context, key string) ([]types.MultipartUpload, error) {
	out, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &key})
	if err != nil {
		return nil, err
	}
	return out.Uploads, nil
}

// holding is what the store has of an object, in parts or all of it.
type holding struct {
	parts     int
	bytes     int64
	somewhere bool // it is an upload, or an object
}

// settled is what the store has once that stays as it is: bytes that were under
// way when the process was killed still arrive, and parts that are being put
// together are neither an upload nor an object for a while.
func (s *store) settled(ctx context.Context, key string, begun bool) (h holding, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	before := holding{parts: -1}
	for same, looks := 0, 0; same < 3; looks++ {
		<-tick.C
		if h, err = s.has(ctx, key); err != nil {
			return h, err
		}
		if same++; h != before || (begun && !h.somewhere && looks < 100) {
			same, before = 0, h
		}
	}
	return h, nil
}

func (s *store) has(ctx context.Context, key string) (h holding, err error) {
	uploads, err := s.unfinished(ctx, key)
	if err != nil {
		return h, err
	}
	for _, u := range uploads {
		h.somewhere = true
		pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.bucket, Key: &key, UploadId: u.UploadId})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if _, ended := errors.AsType[*types.NoSuchUpload](err); ended {
				break
			}
			if err != nil {
				return h, err
			}
			for _, p := range page.Parts {
				h.parts++
				h.bytes += aws.ToInt64(p.Size)
			}
		}
	}
	if h.somewhere {
		return h, nil
	}
	info, err := os.Stat(filepath.Join(s.folder, key))
	if errors.Is(err, os.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		h.somewhere, h.bytes = true, info.Size()
	}
	return h, err
}
