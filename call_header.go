package runpod

import (
	"errors"
	"net/http"
	"slices"
)

// Header sets a field of the call's request, in place of what the request or
// [WithHeader] has there. Each attempt has it. Authorization, which is the API
// key's, and the fields that belong to one connection (RFC 9110, section 7.6.1),
// are refused, and so is what is no field of a header.
func Header(key, value string) CallOption {
	return func(o *callOptions) {
		key, value, err := headerField(key, value)
		switch {
		case err != nil:
			o.fail("Header", err)
		case o.header == nil:
			o.header = http.Header{key: {value}}
		default:
			o.header[key] = []string{value}
		}
	}
}

// decidedElsewhere are the fields that no option sets: those of one connection,
// and those that follow from the request's address and body.
var decidedElsewhere = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Host", "Content-Length",
}

// headerField checks a field of a header and returns it as it is sent. Its
// errors do not show the value, which may be secret.
func headerField(key, value string) (string, string, error) {
	canonical := http.CanonicalHeaderKey(key)
	switch {
	case !isToken(key):
		return "", "", errors.New("the key is no name of a header's field")
	case hasControl(value):
		return "", "", errors.New(canonical + " has a control character in its value")
	case canonical == "Authorization":
		return "", "", errors.New("the header Authorization is the API key's: use WithAPIKey")
	case slices.Contains(decidedElsewhere, canonical):
		return "", "", errors.New(canonical + " belongs to the connection or follows from the request")
	case canonical == "Accept-Encoding":
		value = readable(value)
	}
	return canonical, value, nil
}
