package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
)

// What would be sent as something else than was meant is refused before any
// traffic, by name.
func TestBadInputIsNotSent(t *testing.T) {
	type image struct {
		Scale float64
		Notes map[string]any
	}
	var nobody *image
	calls := func(in, out any) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			_, err := c.Call(ctx, "POST", "/x", in, out)
			return err
		}
	}
	path := func(path string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			_, err := c.Call(ctx, "GET", path, nil, nil)
			return err
		}
	}
	do := func(url string) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error {
			req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
			if err == nil {
				_, err = c.Do(req)
			}
			return err
		}
	}
	job := func(j Job) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error { _, err := c.Run(ctx, j); return err }
	}
	for _, tt := range []struct {
		name        string
		call        func(context.Context, *Client) error
		field, says string
	}{
		{"a strings.Reader", calls(strings.NewReader("{}"), nil), "in", "stream"},
		{"a bytes.Buffer", calls(bytes.NewBufferString("{}"), nil), "in", "stream"},
		{"an os.File", calls(os.Stdin, nil), "in", "stream"},
		{"bytes that are no JSON", calls([]byte("hello"), nil), "in", "not JSON"},
		{"a RawMessage that is no JSON", calls(json.RawMessage(`{"a":`), nil), "in", "not JSON"},
		{"NaN", calls(image{Scale: math.NaN()}, nil), "in", ".Scale: NaN"},
		{"infinity, deep within", calls(map[string]any{"images": []*image{{}, {Scale: math.Inf(1)}}}, nil), "in", `["images"][1].Scale: +Inf`},
		{"a channel", calls(&image{Notes: map[string]any{"c": make(chan int)}}, nil), "in", `.Notes["c"]: a chan int`},
		{"a struct to put the answer into", calls(nil, image{}), "out", "want a pointer"},
		{"a nil pointer to put the answer into", calls(nil, nobody), "out", "nil *runpod.image"},
		{"no path", path(""), "path", "it is empty"},
		{"a query alone", path("?q=1"), "path", "it is empty"},
		{"no path, to Do", do(""), "req.URL", "its path is empty"},
		{"a job without a path", job(Job{ID: "j"}), "Path", "it is empty"},
		{"a job whose body is NaN", job(Job{Path: "/x", Body: func([]Object) (any, error) { return math.NaN(), nil }}), "Body", "NaN"},
		{"a job whose body is a stream", job(Job{Path: "/x", Body: func([]Object) (any, error) { return strings.NewReader("x"), nil }}), "Body", "stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := 0
			withServer(t, func(http.ResponseWriter, *http.Request) { sent++ }, func(t *testing.T, c *Client) {
				err := tt.call(t.Context(), c)
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, ErrBadRequest) || e.Field != tt.field || !strings.Contains(err.Error(), tt.says) || sent != 0 {
					t.Errorf("%d sent, field %q: %v", sent, e.Field, err)
				}
			})
		})
	}
}

// A query goes out as a URL may have it, and what is escaped stays so.
func TestQueryIsEscaped(t *testing.T) {
	var got string
	withServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RawQuery
		io.WriteString(w, r.FormValue("q"))
	}, func(t *testing.T, c *Client) {
		for in, want := range map[string]string{"q=two words": "q=two%20words", "q=a%20b&c=d+e": "q=a%20b&c=d+e", `q=ü"<>{}`: "q=%C3%BC%22%3C%3E%7B%7D", "q=100%": "q=100%"} {
			if _, err := c.Call(t.Context(), "GET", "/x?"+in, nil, nil); err != nil || got != want {
				t.Errorf("Call: %q went out as %q: %v", in, got, err)
			}
			for _, base := range []string{"", "http://endpoint.test"} {
				req, err := http.NewRequest("GET", base+"/x", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.URL.RawQuery = in
				resp, err := c.Do(req)
				if read(t, resp, err); got != want || req.URL.RawQuery != in {
					t.Errorf("Do: %q went out as %q, and became %q", in, got, req.URL.RawQuery)
				}
			}
		}
	})
}
