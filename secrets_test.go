package runpod

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// echo is a worker that answers with the headers it was sent and its body, as debug
// endpoints do: as they are, URL-escaped, and in base64.
func echo(status int, before string) func(runpodtest.Worker) http.Handler {
	return func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var text strings.Builder
			for name, values := range r.Header {
				fmt.Fprintln(&text, name, values, url.QueryEscape(strings.Join(values, ",")), base64.StdEncoding.EncodeToString([]byte("user:"+strings.Join(values, ","))))
			}
			w.Header().Set("X-Echo", strings.ReplaceAll(text.String(), "\n", " "))
			w.WriteHeader(status)
			io.WriteString(w, before+text.String()+string(body))
		})
	}
}

// shows fails if a text shows more than 5 characters of a secret.
func shows(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		for i := 0; i+6 <= len(s); i++ {
			if strings.Contains(text, s[i:i+6]) {
				t.Fatalf("%s shows %q of a secret:\n%s", where, s[i:i+6], text)
			}
		}
	}
}

// everything is an error's text with all that hangs on it.
func everything(err error) string {
	text := fmt.Sprintf("%v\n%+v\n%#v\n", err, err, err)
	if e, ok := errors.AsType[*Error](err); ok {
		text += fmt.Sprintf("%s %s %s %v %v", e.Body, e.WorkerID, e.Advice, e.Err, e.Attempts)
	}
	return text
}

// No error and no log line shows a key, whoever echoes it and in what form.
func TestSecretsEchoedByAWorkerAreNotShown(t *testing.T) {
	for name, status := range map[string]int{"as an answer that is not JSON": 200, "in a 422": 422, "in a 500": 500} {
		for _, before := range []string{"", strings.Repeat("x", 4096-60), strings.Repeat("x", 4096-40), strings.Repeat("x", 4096-20)} {
			t.Run(name, func(t *testing.T) {
				var out logs
				cfg := warm()
				cfg.Handler = echo(status, before)
				inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
					key := srv.APIKey
					var into struct{ Answer string }
					_, err := c.Call(t.Context(), "POST", "/x", map[string]string{"k": key}, &into)
					if err == nil {
						t.Fatal("it succeeded")
					}
					shows(t, "Call's error", everything(err), key)
					_, err = c.Run(t.Context(), Job{Path: "/x", Output: func(r *Response) (string, error) {
						return "", fmt.Errorf("in %s: %w", r.Body, r.JSON(&into))
					}})
					if err == nil {
						t.Fatal("it succeeded")
					}
					shows(t, "Run's error", everything(err), key)
					_, err = c.Run(t.Context(), Job{Path: "/x", Output: func(r *Response) (string, error) { return "/elsewhere/" + string(r.Body), nil }})
					shows(t, "the error of a strange path", everything(err), key)
					resp, err := c.HTTPClient().Post("/events", "", nil)
					if err != nil {
						t.Fatal(err)
					}
					for _, err := range Events(resp) {
						shows(t, "the error of a stream", everything(err), key)
					}
					shows(t, "the log", out.String(), key)
					shows(t, "Stats", fmt.Sprintf("%+v", c.Stats()), key)
				}, WithLogger(out.logger()))
			})
		}
	}
}

// A worker's id is a stranger's text too.
func TestWorkerIDIsBoundedAndPrinted(t *testing.T) {
	cfg := warm()
	cfg.Handler = func(runpodtest.Worker) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) })
	}
	var out logs
	inBubble(t, cfg, func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for _, id := range []string{strings.Repeat("w", 500_000), "w\u202egnp.exe", "w " + srv.APIKey} {
			srv.Fault(runpodtest.Fault{Do: runpodtest.Answer(422, "", "X-Runpod-Worker-Id", id)})
			_, err := c.Call(t.Context(), "POST", "/x", nil, nil)
			if text := everything(err); len(text) > 5000 || strings.ContainsRune(text, '\u202e') {
				t.Errorf("%d bytes: %.200q", len(text), text)
			}
			shows(t, "an error", everything(err), srv.APIKey)
			shows(t, "the log", out.String(), srv.APIKey)
		}
	}, WithLogger(out.logger()))
}

// A gateway that echoes what it was sent shows neither the keys nor the session
// token that a provider has handed over.
func TestSecretsOfAProviderAreNotShown(t *testing.T) {
	const secret, token = "rps_9xYvQ2mWq71kLpZt", "FwoGZXIvYXdzEXAMPLEtoken//"
	var out logs
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, _ *Client) {
		c := newClient(t, srv, WithLogger(out.logger()), WithS3CredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: srv.AccessKeyID, SecretAccessKey: secret, SessionToken: token}, nil
		})))
		for _, body := range []string{"token " + token + " " + secret, "<Error><Code>AccessDenied</Code><Message>" + token + " for " + secret + "</Message></Error>",
			"<Error><Code>" + token + "</Code></Error>", base64.StdEncoding.EncodeToString([]byte(secret + token))} {
			srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Do: runpodtest.Answer(400, body)})
			_, err := c.Upload(t.Context(), "a", Bytes("a", []byte("a")))
			if err == nil {
				t.Fatal("it succeeded")
			}
			shows(t, "an error", everything(err), secret, token)
		}
		shows(t, "the log", out.String(), secret, token)
		shows(t, "Redact", c.Redact("t "+token+" s "+url.QueryEscape(secret)), secret, token)
	})
}

// A key that a foreign client has put into a header of its own, in whatever form,
// does not go along to another host.
func TestSecretsDoNotGoElsewhere(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		req, _ := http.NewRequest("POST", "http://elsewhere.test/", nil)
		req.SetBasicAuth("user", srv.APIKey)
		req.Header.Set("X-Other", "stays")
		clean := withoutSecrets(req.Header, c.in().config.secrets)
		if clean.Get("Authorization") != "" || clean.Get("X-Other") != "stays" {
			t.Errorf("%v", clean)
		}
	})
}
