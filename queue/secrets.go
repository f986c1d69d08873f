package queue

import (
	"slices"
	"sync"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/internal/redact"
)

// secrets are those that no error and no Failure may show although a worker or
// the service may echo them: the Client's, and those that requests have brought.
// All text from the service goes through here before anybody sees it.
type secrets struct {
	client *runpod.Client // whose own are among them; nil: none
	own    *redact.Secrets

	mu    sync.RWMutex
	known []string
}

func newSecrets(client *runpod.Client) *secrets {
	return &secrets{client: client, own: redact.New()}
}

// maxSecrets bounds how many are remembered: the newest ones.
const maxSecrets = 100

// add remembers the secrets of requests that are about to be sent.
func (s *secrets) add(requests ...Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range requests {
		if r.S3 == nil || r.S3.AccessSecret == "" || slices.Contains(s.known, r.S3.AccessSecret) {
			continue
		}
		s.own.Add(r.S3.AccessSecret)
		s.known = append(s.known, r.S3.AccessSecret)
		if len(s.known) > maxSecrets {
			s.known = slices.Delete(s.known, 0, 1)
		}
	}
}

// list returns those of requests.
func (s *secrets) list() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.known)
}

// from returns text without the secrets. What it was given is not changed.
func (s *secrets) from(text []byte) []byte {
	if s == nil {
		return text
	}
	if s.client != nil {
		text = []byte(s.client.Redact(string(text)))
	}
	return s.own.Bytes(text)
}
