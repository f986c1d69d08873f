package runpod

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gpuburst/runpod-go/runpodtest"
)

func listingPage(keys []string, more, token string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<ListBucketResult><IsTruncated>%s</IsTruncated>", more)
	if token != "" {
		fmt.Fprintf(&b, "<NextContinuationToken>%s</NextContinuationToken>", token)
	}
	for _, key := range keys {
		fmt.Fprintf(&b, "<Contents><Key>%s</Key><Size>1</Size></Contents>", key)
	}
	return b.String() + "</ListBucketResult>"
}

// Listings go on where a token is missing or repeated, and end where they
// cannot.
func TestListWithRepeatedTokens(t *testing.T) {
	for _, c := range []struct {
		name  string
		pages []string
		want  string
		fails bool
	}{
		{name: "two pages", want: "[a b c]", pages: []string{
			listingPage([]string{"a", "b"}, "true", "t1"), listingPage([]string{"c"}, "false", "")}},
		{name: "a repeated token", want: "[a b c d]", pages: []string{
			listingPage([]string{"a"}, "true", "t1"), listingPage([]string{"b"}, "true", "t1"),
			listingPage([]string{"c"}, "true", "t2"), listingPage([]string{"d"}, "false", "")}},
		{name: "a repeated page", want: "[a b]", pages: []string{
			listingPage([]string{"a"}, "true", "t1"), listingPage([]string{"b"}, "true", "t1"),
			listingPage([]string{"a", "b"}, "false", "")}},
		{name: "no token", want: "[a b]", pages: []string{
			listingPage([]string{"a"}, "true", ""), listingPage([]string{"b"}, "false", "")}},
		{name: "the same for ever", want: "[a]", fails: true, pages: []string{
			listingPage([]string{"a"}, "true", "t1"), listingPage(nil, "true", "t1"), listingPage([]string{"a"}, "true", "t1")}},
		{name: "a repeated token and no order", want: "[b a]", fails: true, pages: []string{
			listingPage([]string{"b", "a"}, "true", "t1"), listingPage(nil, "true", "t1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, cl *Client) {
				for _, page := range c.pages {
					srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "list-type", Do: runpodtest.Answer(200, page)})
				}
				var got []string
				var failed error
				for obj, err := range cl.List(t.Context(), "") {
					if failed = err; err == nil {
						got = append(got, obj.Key)
					}
				}
				if fmt.Sprint(got) != c.want || (failed != nil) != c.fails {
					t.Errorf("got %v, %v", got, failed)
				}
			})
		})
	}
}

// A listing's loop may use the Client, close it, and be left.
func TestListWhileTheClientIsUsed(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		for i := range 5 {
			put(t, srv, fmt.Sprint("k", i), []byte("x"))
		}
		for obj, err := range c.List(t.Context(), "k") {
			if err != nil || c.Delete(t.Context(), obj.Key) != nil {
				t.Error(obj, err)
			}
			if obj.Key == "k2" {
				break
			}
		}
		if left := remains(t, srv, "."); len(left) != 2 {
			t.Errorf("left: %v", left)
		}
		for range c.List(t.Context(), "k") {
			c.Close()
		}
		for _, err := range c.List(t.Context(), "k") {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		}
	}, WithS3Conns(1))
}
