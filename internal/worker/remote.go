package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// Remote returns the program of workers that pass their requests to a server that
// runs already, such as http://127.0.0.1:8000. It returns an error if base is not
// the address of one or nothing listens there. What goes wrong later is written
// to logs and costs the request a 502.
func Remote(base string, logs io.Writer) (func(runpodtest.Worker) http.Handler, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%s is not the address of a server; want one such as http://127.0.0.1:8000", shown(u, base))
	}
	conn, err := net.DialTimeout("tcp", hostPort(u), 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("no server answers at %s; start yours first: %w", base, err)
	}
	conn.Close()
	return func(w runpodtest.Worker) http.Handler { return forward(w, u, logs, nil) }, nil
}

// notice waits a moment for the news that explains a failed request: that its
// server has died. The next request must not meet the dead one.
func notice(w runpodtest.Worker, died <-chan struct{}) {
	if died == nil {
		return
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-died:
		w.Crash()
	case <-w.Context.Done():
	case <-t.C:
	}
}

// shown is an address for an error: without a password, quoted.
func shown(u *url.URL, text string) string {
	if u != nil {
		text = u.Redacted()
	}
	return strconv.Quote(text)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme // a name that net.Dial knows
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// forward passes a worker's requests to a server. Streams flow and upgrades
// pass. died is closed when the server has died, which is the worker's crash.
func forward(w runpodtest.Worker, to *url.URL, logs io.Writer, died <-chan struct{}) http.Handler {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	context.AfterFunc(w.Context, transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			if w.Context.Err() == nil && !errors.Is(err, context.Canceled) {
				fmt.Fprintf(logs, "[%s] %s %s: %v\n", w.ID, r.Method, r.URL.Path, err)
			}
			panic(http.ErrAbortHandler) // the balancer answers 502
		},
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// Only for a request of an http.Server does ReverseProxy report an answer that
		// breaks off; without this a stream cut short would look complete.
		ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{})
		defer func() {
			if p := recover(); p != nil {
				notice(w, died)
				panic(p)
			}
		}()
		proxy.ServeHTTP(rw, r.WithContext(ctx))
	})
}
