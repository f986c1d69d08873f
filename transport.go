package runpod

import "net/http"

// transport is a caller as other people's HTTP clients want it.
type transport struct{ calls *caller }

// RoundTrip sends one request; see [Client.Transport].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.calls.ep.base
	if req != nil && req.URL != nil && req.URL.Host != "" && base != nil && !sameOrigin(req.URL, base) {
		return t.calls.passOn(req)
	}
	return t.calls.send(req, true)
}
