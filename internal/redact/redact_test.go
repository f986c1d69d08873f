package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

const key = `rpa_S3CR/ET+key"<1>&2`

// A secret is found however a server shows it.
func TestSecretsInEveryForm(t *testing.T) {
	s := New(key, "")
	quoted, _ := json.Marshal(key)
	shown := []string{key, "Bearer " + key, url.QueryEscape(key), url.PathEscape(key), string(quoted), html.EscapeString(key), fmt.Sprintf("%x", key), fmt.Sprintf("%X", key)}
	for _, user := range []string{"", "a", "ab", "abc", "user:"} {
		for _, after := range []string{"", "x", "xy"} {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
				shown = append(shown, "Basic "+enc.EncodeToString([]byte(user+key+after)))
			}
		}
	}
	for _, text := range shown {
		got := s.String(text)
		if !strings.Contains(got, mark) || !s.In(text) {
			t.Errorf("%q is shown as %q", text, got)
		}
		for n := 8; n <= len(key); n++ {
			if strings.Contains(got, key[:n]) {
				t.Errorf("%q shows %q", got, key[:n])
			}
		}
	}
	if got := s.String("nothing secret"); got != "nothing secret" {
		t.Errorf("got %q", got)
	}
}

// Text is redacted first and cut afterwards, and a secret that the text itself
// was cut in is gone too.
func TestSecretsAcrossTheCut(t *testing.T) {
	s := New(key)
	for cut := 1; cut < len(key); cut++ {
		text := strings.Repeat("x", 100) + key[:cut]
		got := string(s.Bytes([]byte(text)))
		if cut >= shortest && strings.Contains(got, key[:shortest]) {
			t.Errorf("cut after %d: %q", cut, got)
		}
		whole := strings.Repeat("x", 4096-cut) + key
		if got := string(s.Head([]byte(whole), 4096)); strings.Contains(got, key[:shortest]) || len(got) > 4096 {
			t.Errorf("cut %d into it: ...%q", cut, got[4050:])
		}
	}
}

func TestSecretsAreForgottenBeyondABound(t *testing.T) {
	s := New()
	for i := range most + 10 {
		s.Add(fmt.Sprintf("token-%04d", i))
	}
	if s.In("token-0000") || !s.In(fmt.Sprintf("token-%04d", most+9)) || len(s.order) != most {
		t.Errorf("%d values are kept", len(s.order))
	}
	var none *Secrets
	if none.In("x") || string(none.Bytes([]byte("x"))) != "x" || none.String("xyz") != "xyz" {
		t.Error("no Secrets has some")
	}
}

// What a terminal or a log would misread is not in a line.
func TestLineIsOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\r\tc":          "a b  c",
		"\x1b[31mred\x07":    " [31mred ",
		"\u202egnp.exe":      "?gnp.exe",
		"bad\xffutf":         "bad?utf",
		"\u0085next\u2028":   "next",
		"caf\u00e9":          "café",
		"0123456789":         "0123456...",
		"012345\u00e9\u00e9": "012345...",
	} {
		if got := Line([]byte(text), 7); len(text) <= 7 || strings.HasSuffix(want, "...") {
			if got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		} else if got := Line([]byte(text), 100); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestNamesAreQuotedIfNeedBe(t *testing.T) {
	for name, want := range map[string]string{
		"inputs/a b.jpg": "inputs/a b.jpg", "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`, "a\xff": `"a\xff"`,
	} {
		if got := Name(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func FuzzNoSecretSurvives(f *testing.F) {
	f.Add("before ", " after", 20)
	f.Fuzz(func(t *testing.T, before, after string, size int) {
		s := New(key)
		got := s.Line([]byte(before+key+after), max(0, size%10_000))
		if strings.Contains(got, key) {
			t.Errorf("%q", got)
		}
		if strings.ContainsAny(got, "\n\r\x1b") {
			t.Errorf("%q is more than a line", got)
		}
	})
}
