package runpodtest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Server is an endpoint, its network volume, its control plane and its job API,
// in this process. NewServer sets its fields; its methods are safe for concurrent
// use.
type Server struct {
	EndpointURL string // base URL of the endpoint; the path and method are free
	S3URL       string // base URL of the volume's S3 API, path style
	ControlURL  string // base URL of the control plane, REST v2
	JobsURL     string // base URL of the job API, the endpoint's id included
	EndpointID  string // the endpoint's name there
	Region      string // of the S3 API: the data center's id
	Bucket      string // the network volume's id

	// Keys that this server accepts, made from the seed.
	APIKey, AccessKeyID, SecretAccessKey string

	// DialContext connects to the server, in memory or over loopback, for
	// http.Transport.DialContext. In memory there is no other way in.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// VolumeDir is the folder that is the network volume: S3's objects are its
	// files, and a worker's program finds them there.
	VolumeDir string

	cfg      *Config
	ledger   *ledger
	faults   *faultList
	balancer *balancer
	network  *network
	control  *controlPlane
	jobs     *jobAPI
	folder   *folder
	tempDir  string
	cancel   context.CancelFunc
	servers  []*http.Server
	tasks    sync.WaitGroup // goroutines that accept, connections that are served
	closing  sync.Once
	closed   error
}

// NewServer starts a server. It refuses a Config that makes no sense, naming the
// field. The caller closes it.
//
// Everything runs in this process and, without Loopback, in memory, so that a
// server made inside a testing/synctest bubble lives in the bubble's time.
func NewServer(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Region: cfg.Region, Bucket: cfg.Bucket, EndpointID: cfg.EndpointID,
		APIKey:          "rpa_" + name(cfg.Seed, drawKeys, 2, 40),
		AccessKeyID:     "user_" + name(cfg.Seed, drawKeys, 3, 27),
		SecretAccessKey: "rps_" + name(cfg.Seed, drawKeys, 4, 40),
		cfg:             &cfg, faults: &faultList{},
	}
	if cfg.DataCenters == nil {
		cfg.DataCenters = []string{s.Region}
	}
	if cfg.NetworkVolumes == nil {
		cfg.NetworkVolumes = []string{s.Bucket}
	}
	for _, f := range cfg.Faults {
		s.Fault(f)
	}
	s.ledger = &ledger{cfg: s.cfg, start: time.Now()}
	if err := s.openVolume(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	s.balancer.open()
	return s, nil
}

// openVolume finds or makes the volume's folder.
func (s *Server) openVolume() (err error) {
	s.VolumeDir = s.cfg.VolumeDir
	if s.VolumeDir == "" {
		if s.VolumeDir, err = os.MkdirTemp("", "runpod-volume-"); err != nil {
			return err
		}
		s.tempDir = s.VolumeDir
	}
	if s.VolumeDir, err = filepath.Abs(s.VolumeDir); err != nil {
		return err
	}
	s.folder, err = openFolder(s.VolumeDir, s.Bucket, s.cfg.Seed)
	if err != nil {
		return fieldError("VolumeDir", "%v", err)
	}
	return nil
}

// listen makes the services and lets clients in.
func (s *Server) listen() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.balancer = newBalancer(ctx, s.cfg, s.ledger, s.VolumeDir)
	s.network = newNetwork(s.cfg, s.faults)
	if s.cfg.Loopback {
		if err := s.network.loopback(s.cfg.Addr); err != nil {
			return err
		}
	}
	s.DialContext = s.network.dial
	s.EndpointURL, s.S3URL = s.network.urls[OnEndpoint], s.network.urls[OnS3]
	s.ControlURL = s.network.urls[OnControl] + "/v2"
	endpoint := &endpoint{cfg: s.cfg, apiKey: s.APIKey, balancer: s.balancer, ledger: s.ledger, faults: s.faults}
	s.jobs = &jobAPI{
		cfg: s.cfg, apiKey: s.APIKey, endpointID: s.EndpointID, balancer: s.balancer, faults: s.faults,
		queue: newJobQueue(s.cfg, s.balancer, s.ledger), limits: newJobLimits(s.cfg),
	}
	s.jobs.route()
	s.JobsURL = s.EndpointURL + strings.TrimSuffix(s.jobs.prefix(), "/")
	s.control = &controlPlane{
		cfg: s.cfg, apiKey: s.APIKey, id: s.EndpointID, endpointURL: s.EndpointURL,
		balancer: s.balancer, ledger: s.ledger, faults: s.faults, quotas: newQuotas(s.cfg),
	}
	s.control.route()
	s.serve(ctx, OnEndpoint, s.jobs.before(endpoint))
	s.serve(ctx, OnS3, newVolume(s.cfg, s.folder, s.ledger, s.faults, map[string]string{s.AccessKeyID: s.SecretAccessKey}))
	s.serve(ctx, OnControl, s.control)
	return nil
}

// serve answers a listener's connections until Close.
func (s *Server) serve(ctx context.Context, on Service, h http.Handler) {
	srv := &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
		ConnState:   s.track,
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	s.servers = append(s.servers, srv)
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		srv.Serve(s.network.gates[on])
	}()
}

// track lets Close wait for the goroutines that serve connections.
func (s *Server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.tasks.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.tasks.Done()
	}
}

// Close stops the workers, ends every connection and returns when all
// goroutines of the server have ended; a Handler that ignores its context holds
// it up. The account can still be read. Closing twice is fine.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.shutDown() })
	return s.closed
}

func (s *Server) shutDown() error {
	if s.cancel != nil {
		s.cancel()
		for _, srv := range s.servers {
			srv.Close()
		}
		s.network.close()
		s.tasks.Wait()
		s.balancer.close()
	}
	err := s.folder.close()
	if s.tempDir != "" {
		err = errors.Join(err, os.RemoveAll(s.tempDir))
	}
	return err
}
