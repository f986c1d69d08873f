package runpod

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
)

const (
	proxyHint   = "check the proxy: its address and password (HTTPS_PROXY, or the Proxy of WithHTTPTransport), and whether it lets this host through"
	tlsHint     = "check the address, and which certificates are trusted (the TLSClientConfig of WithHTTPTransport); a firewall that opens TLS looks like this too"
	schemeHint  = "check the address's scheme: that server speaks http there, not https"
	hostHint    = "check the endpoint's id, or the address, and this machine's DNS"
	addressHint = "check the address"
	localHint   = "check what this machine's firewall or sandbox lets out"
)

// classifyConnect decides about an error of connecting that no retry mends, and
// says who has refused. It reports false for any other error.
func classifyConnect(err error) (decision, bool) {
	end := func(reason, hint string) (decision, bool) {
		return decision{verdict: VerdictGiveUp, cause: "connect_impossible", reason: reason, hint: hint}, true
	}
	proxy, refused := errors.AsType[*proxyError](err)
	op, _ := errors.AsType[*net.OpError](err)
	switch {
	case refused && proxy.permanent():
		return end("the proxy refuses to connect", proxyHint)
	case op != nil && strings.HasPrefix(op.Op, "socks ") && isSOCKSRefusal(err):
		return end("the proxy refuses to connect", proxyHint)
	case op != nil && op.Op == "proxyconnect" && isPermanent(op.Err):
		return end("cannot connect to the proxy", proxyHint)
	case speaksHTTP(err):
		return end("cannot connect: the server does not speak TLS", schemeHint)
	case isTLSRefusal(err):
		return end("cannot connect: TLS fails", tlsHint)
	case isWrongAddress(err):
		return end("cannot connect: the address is wrong", addressHint)
	case errors.Is(err, fs.ErrPermission):
		return end("cannot connect: this machine forbids it", localHint)
	}
	return decision{}, false
}

// isPermanent reports errors of connecting that no retry mends.
func isPermanent(err error) bool {
	_, permanent := classifyConnect(err)
	return permanent
}

// tlsAlerts are those by which a server ends a handshake for good. With TLS 1.3
// the one about the client's certificate comes after the request was written,
// which has not run then.
var tlsAlerts = []string{
	"handshake failure", "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
	"unknown certificate", "unknown certificate authority", "access denied", "protocol version not supported",
	"insufficient security level", "unrecognized name", "certificate required", "no application protocol", "encrypted client hello required",
}

// isTLSRefusal reports errors by which one side of a TLS handshake refuses the
// other. crypto/tls has no types for most of them.
func isTLSRefusal(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, badName := errors.AsType[x509.HostnameError](err)
	_, badHeader := errors.AsType[tls.RecordHeaderError](err)
	if untrusted || badName || badHeader {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return slices.Contains(tlsAlerts, strings.TrimPrefix(op.Err.Error(), "tls: "))
	}
	for _, text := range []string{"tls: server selected unsupported protocol", "tls: no supported versions", "tls: server selected an unsupported"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// isSOCKSRefusal: net/http has no types for what a SOCKS proxy says either.
func isSOCKSRefusal(err error) bool {
	for _, text := range []string{"connection not allowed by ruleset", "authentication", "username/password", "unexpected protocol version"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// speaksHTTP reports whether a server has answered the beginning of a TLS
// handshake in HTTP.
func speaksHTTP(err error) bool {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(header.RecordHeader[:]) == "HTTP/"
}

func isWrongAddress(err error) bool {
	_, badAddress := errors.AsType[*net.AddrError](err)
	_, badText := errors.AsType[*net.ParseError](err)
	_, badNetwork := errors.AsType[net.UnknownNetworkError](err)
	_, invalid := errors.AsType[net.InvalidAddrError](err)
	return badAddress || badText || badNetwork || invalid
}

func isHostNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}
