// Package redact makes text from what a server sent: without secrets, capped, and
// fit for a terminal or a log.
package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// mark stands where a secret stood.
const mark = "[redacted]"

const (
	// shortest is the length below which a value is no secret: it would be found
	// everywhere.
	shortest = 4
	// most bounds how many values are remembered: a provider's session token
	// changes every hour, and only the last ones can still come back.
	most = 64
	// longest is the length above which a value is no secret that a header could
	// carry; its beginning is looked for.
	longest = 16 << 10
)

// Secrets are values that nobody may see, and what encodes them: base64 at any
// offset, as in Basic credentials, and what is escaped for a URL, JSON or HTML. A
// nil Secrets has none. It is safe for concurrent use.
type Secrets struct {
	mu    sync.RWMutex
	fixed int                 // how many values are never forgotten
	order []string            // the values: the fixed ones, then the others, the oldest first
	forms map[string][][]byte // of each value
	all   [][]byte            // all forms, the longest first
}

// New returns the Secrets of some values, which are never forgotten. Empty ones
// are left out.
func New(values ...string) *Secrets {
	s := &Secrets{forms: map[string][][]byte{}}
	s.fixed = len(values) // none is forgotten while they are added
	s.Add(values...)
	s.fixed = len(s.order)
	return s
}

// Add adds values. Beyond a bound the oldest of those added are forgotten.
func (s *Secrets) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, v := range values {
		v = v[:min(len(v), longest)]
		if len(v) < shortest || s.forms[v] != nil {
			continue
		}
		s.order, s.forms[v], changed = append(s.order, v), formsOf(v), true
		if len(s.order) > s.fixed+most {
			delete(s.forms, s.order[s.fixed])
			s.order = slices.Delete(s.order, s.fixed, s.fixed+1)
		}
	}
	if !changed {
		return
	}
	s.all = nil
	for _, forms := range s.forms {
		s.all = append(s.all, forms...)
	}
	slices.SortFunc(s.all, func(a, b []byte) int { return cmp.Or(len(b)-len(a), bytes.Compare(a, b)) })
	s.all = slices.CompactFunc(s.all, bytes.Equal)
}

// formsOf is a value in all the ways in which a server may show it.
func formsOf(v string) [][]byte {
	quoted, _ := json.Marshal(v)
	forms := []string{v, url.QueryEscape(v), url.PathEscape(v), string(quoted[1 : len(quoted)-1]), html.EscapeString(v),
		hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v)))}
	for offset := range 3 {
		forms = append(forms, inBase64(v, offset)...)
	}
	slices.Sort(forms)
	var all [][]byte
	for _, f := range slices.Compact(forms) {
		if len(f) >= shortest {
			all = append(all, []byte(f))
		}
	}
	return all
}

// inBase64 is what base64 makes of a value that so many bytes stand before, but
// for the characters at both ends that depend on what stands around it.
func inBase64(v string, offset int) []string {
	text := append(make([]byte, offset), v...)
	from, to := (offset*8+5)/6, len(text)*8/6
	if to-from < shortest {
		return nil
	}
	return []string{base64.RawStdEncoding.EncodeToString(text)[from:to], base64.RawURLEncoding.EncodeToString(text)[from:to]}
}

// In reports whether text has a secret in it.
func (s *Secrets) In(text string) bool {
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.ContainsFunc(s.all, func(form []byte) bool { return strings.Contains(text, string(form)) })
}

// Bytes returns text without secrets, also without the beginning of one that text
// ends in: it may have been cut there. What it is given is not changed.
func (s *Secrets) Bytes(text []byte) []byte {
	if s == nil {
		return text
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, form := range s.all {
		if bytes.Contains(text, form) {
			text = bytes.ReplaceAll(text, form, []byte(mark))
		}
	}
	if n := s.cut(text); n > 0 {
		text = append(bytes.Clone(text[:len(text)-n]), mark...)
	}
	return text
}

// cut is how many bytes at the end of text are the beginning of a secret.
func (s *Secrets) cut(text []byte) (n int) {
	for _, form := range s.all {
		for k := min(len(form)-1, len(text)); k >= shortest && k > n; k-- {
			if bytes.HasSuffix(text, form[:k]) {
				n = k
			}
		}
	}
	return n
}

// String is Bytes for a string.
func (s *Secrets) String(text string) string {
	if !s.In(text) && (s == nil || len(text) < shortest) {
		return text
	}
	return string(s.Bytes([]byte(text)))
}

// Head returns the beginning of what a server sent, at most so many bytes, without
// secrets: it redacts first and cuts afterwards.
func (s *Secrets) Head(text []byte, size int) []byte {
	text = s.Bytes(text)
	return text[:min(len(text), size)]
}

// Line returns the beginning of what a server sent as one line that a terminal or
// a log shows as it is: without secrets, at most so many bytes and then "...",
// every character that is not printed replaced by a space or "?".
func (s *Secrets) Line(text []byte, size int) string { return Line(s.Bytes(text), size) }

// Line is the Line of no secrets.
func Line(text []byte, size int) string {
	text = bytes.TrimSpace(text)
	more := ""
	if len(text) > size {
		for size > 0 && !utf8.RuneStart(text[size]) {
			size--
		}
		text, more = text[:size], "..."
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r < ' ':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(text), "?")) + more
}

// Name returns a name that came from outside as it may be shown: as it is if every
// character is printed, otherwise quoted as in Go.
func Name(name string) string {
	if utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return name
	}
	return strconv.Quote(name)
}
