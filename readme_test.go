package runpod

import (
	"os"
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
