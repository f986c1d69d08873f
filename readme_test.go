package runpod

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README's six rows are rows of doc.go's table that share a verdict, in the
// same words, and only what a newcomer can do without is left to doc.go.
func TestReadmeTable(t *testing.T) {
	verdicts := map[string]string{}
	for _, row := range documentedTable(t) {
		verdicts[row.answer] = verdict(row.then)
	}
	readme := readmeTable(t)
	if len(readme) != 6 {
		t.Errorf("%d rows in the README, want 6", len(readme))
	}
	for _, row := range readme {
		for answer := range strings.SplitSeq(row.answer, "; ") {
			if want, ok := verdicts[answer]; !ok || want != verdict(row.then) {
				t.Errorf("README: %q: %q; doc.go says %q", answer, verdict(row.then), want)
			}
			delete(verdicts, answer)
		}
	}
	for answer, then := range verdicts {
		if !slices.Contains(leftToDoc, answer) {
			t.Errorf("doc.go: %q: %q; the README does not say it", answer, then)
		}
	}
}

// leftToDoc are the rows that the README does without.
var leftToDoc = []string{
	"1xx, 2xx, 3xx",
	"400 unknown, sooner, where workers name themselves",
	"400 unknown, sooner, otherwise",
	`"not allowed for QB API"`,
	"pinned worker gone, busy or unreachable, with AnyWorker",
	"501, 505; 507",
}

// verdict is a right-hand cell without what explains it.
func verdict(then string) string {
	for _, sep := range []string{": ", "; ", ", else "} {
		then, _, _ = strings.Cut(then, sep)
	}
	return strings.TrimSpace(then)
}

func readmeTable(t *testing.T) (rows []documentedRow) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| answer | then |\n|---|---|\n")
	if !found {
		t.Fatal("README.md has no table of what is retried")
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(line, "`", ""), "|")
		if len(cells) != 4 {
			break
		}
		rows = append(rows, documentedRow{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])})
	}
	return rows
}

// Each test that docs/security.md names is there.
func TestSecurityNamesItsTests(t *testing.T) {
	doc, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(doc, -1) {
		if named[string(m[1])] = true; !there[string(m[1])] {
			t.Errorf("docs/security.md names %s, which is not there", m[1])
		}
	}
	if len(named) < 40 {
		t.Errorf("docs/security.md names %d tests", len(named))
	}
}
