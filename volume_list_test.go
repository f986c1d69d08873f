package runpod

import (
	"errors"
	"fmt"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// An answer of 200 that is no listing is no end of one.
func TestListingThatIsNone(t *testing.T) {
	for _, body := range []string{"", "<html>It works!</html>", "<ListBucketResult><Contents><Key>a", "<ListBucketResult><Contents><Key>\x01</Key></Contents></ListBucketResult>"} {
		for _, times := range []int{2, runpodtest.Always} {
			inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
				for i := range 6 {
					put(t, srv, fmt.Sprint("p", i), []byte("x"))
				}
				rule := srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "list-type", Times: times, Do: runpodtest.Answer(200, body)})
				n := 0
				var failed error
				for _, err := range c.List(t.Context(), "p") {
					if failed = err; err == nil {
						n++
					}
				}
				if times == 2 && (failed != nil || n != 6) {
					t.Errorf("%q twice: %d of 6, %v", body, n, failed)
				}
				if times != 2 && (failed == nil || rule.Fired() != s3Attempts || !strings.Contains(failed.Error(), "not the result")) {
					t.Errorf("%q for ever: %d, %v after %d requests", body, n, failed, rule.Fired())
				}
				if times == 2 {
					return
				}
				if down, err := c.DownloadDir(t.Context(), "p", t.TempDir()); err == nil {
					t.Errorf("%q: downloaded %v", body, down)
				}
				if n, err := c.DeleteAll(t.Context(), "p"); err == nil {
					t.Errorf("%q: deleted %d", body, n)
				}
			})
		}
	}
}

// Keys that XML cannot write are listed, fetched and deleted.
func TestKeysWithControlCharacters(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		want := []string{"p/\x01", "p/a\tb", "p/a\nb", "p/esc\x1b[31m", "p/plus+ %41 &<>"}
		os.MkdirAll(filepath.Join(srv.VolumeDir, "p"), 0o700)
		for _, key := range want {
			put(t, srv, key, []byte(key))
		}
		var got []string
		for obj, err := range c.List(t.Context(), "p/") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, obj.Key)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("listed %q", got)
		}
		dir := t.TempDir()
		if down, err := c.DownloadDir(t.Context(), "p", dir); err != nil || len(down) != len(want) || len(files(t, dir)) != len(want) {
			t.Errorf("downloaded %q, %v", keysIn(down), err)
		}
		if n, err := c.DeleteAll(t.Context(), "p/"); err != nil || n != len(want) {
			t.Errorf("deleted %d, %v", n, err)
		}
	})
}

// A key is decoded only if the answer says that it is encoded.
func TestKeysAreDecodedOnlyIfTheAnswerSaysSo(t *testing.T) {
	for encoding, want := range map[string]string{"": "a%2Bb+c", "url": "a+b c"} {
		out, err := listResult(nil, []byte("<ListBucketResult><EncodingType>"+encoding+"</EncodingType><Contents><Key>a%2Bb+c</Key></Contents></ListBucketResult>"))
		if err != nil || *out.(*s3.ListObjectsV2Output).Contents[0].Key != want {
			t.Errorf("%q: %+v, %v", encoding, out, err)
		}
	}
}

// A listing that goes in a circle ends, whatever its tokens are.
func TestListThatGoesInACircle(t *testing.T) {
	for name, pages := range map[string][][]string{
		"the same page": {{"a", "b"}}, "two pages by turns": {{"a"}, {"b"}}, "empty pages": {{}}, "no order": {{"c", "a"}, {"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			gatewayBubble(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				io.WriteString(w, listingPage(pages[asked%len(pages)], "true", fmt.Sprint("token", asked)))
			}, func(t *testing.T, c *Client) {
				var failed error
				n := 0
				for _, err := range c.List(t.Context(), "") {
					if failed = err; err == nil {
						n++
					}
				}
				if failed == nil || !strings.Contains(failed.Error(), "does not go on") || asked > maxEmpty+2 || n > 3 {
					t.Errorf("%d objects on %d pages, %v", n, asked, failed)
				}
			})
		})
	}
}

// The gateway computes checksums before it lists: minutes without a byte.
func TestListingThatIsSilentForMinutes(t *testing.T) {
	inBubble(t, warm(), func(t *testing.T, srv *runpodtest.Server, c *Client) {
		put(t, srv, "k", []byte("x"))
		srv.Fault(runpodtest.Fault{On: runpodtest.OnS3, Query: "list-type", Times: runpodtest.Always, Do: runpodtest.Delay(5 * time.Minute)})
		n := 0
		for _, err := range c.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if sent := c.Stats().S3Attempts; n != 1 || sent != 1 {
			t.Errorf("%d objects after %d requests", n, sent)
		}
	})
}
