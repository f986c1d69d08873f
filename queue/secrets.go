package queue

import (
	"bytes"
	"slices"
	"sync"
)

// secrets are those that requests have brought, which no error and no Failure
// may show although a worker or the service may echo them. All text from the
// service goes through here before anybody sees it.
type secrets struct {
	mu    sync.RWMutex
	known []string
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
		s.known = append(s.known, r.S3.AccessSecret)
		if len(s.known) > maxSecrets {
			s.known = slices.Delete(s.known, 0, 1)
		}
	}
}

// list returns all of them.
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
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, secret := range s.known {
		text = bytes.ReplaceAll(text, []byte(secret), []byte("[redacted]"))
	}
	return text
}
