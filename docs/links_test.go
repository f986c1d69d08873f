package docs

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// link is a Markdown link or picture.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// codeBlock is what links are not looked for in.
var codeBlock = regexp.MustCompile("(?s)```.*?```")

// Every link from a document to a file of the repository leads somewhere.
func TestLinks(t *testing.T) {
	repository := os.DirFS("..")
	checked := 0
	for _, file := range markdown(t, repository) {
		text, err := fs.ReadFile(repository, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
			target, section, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") || target == "" {
				continue
			}
			checked++
			target = path.Join(path.Dir(file), target)
			if _, err := fs.Stat(repository, target); err != nil {
				t.Errorf("%s: %s: %v", file, found[1], err)
			} else if section != "" && !hasSection(t, repository, target, section) {
				t.Errorf("%s: %s: %s has no such section", file, found[1], target)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d links found", checked)
	}
}

// hasSection reports whether a document has a heading for a link's fragment.
func hasSection(t *testing.T, repository fs.FS, file, section string) bool {
	t.Helper()
	text, err := fs.ReadFile(repository, file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok && fragment(heading) == section {
			return true
		}
	}
	return false
}

// fragment is how a link names a heading: in lower case, without punctuation, with
// hyphens for spaces.
func fragment(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// The README is read to its end only if it is short.
func TestReadmeIsShort(t *testing.T) {
	info, err := os.Stat("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 7<<10 {
		t.Errorf("README.md has %d bytes, want at most %d: move something to docs", info.Size(), 7<<10)
	}
}

// markdown are the documents of the repository.
func markdown(t *testing.T, repository fs.FS) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "*/*.md", "*/*/*.md", "internal/*/*/*/*.md"} {
		files, err := fs.Glob(repository, pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	return all
}
