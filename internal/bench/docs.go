package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The tables of docs/compare-tables.md stand between these lines; the text
// around them, and the page that they belong to, compare.md, are written by hand.
const (
	docsBegin = "<!-- printed by the command: begin -->\n"
	docsEnd   = "<!-- printed by the command: end -->\n"
)

// writeDocs brings compare-tables.md, compare.csv and compare.svg in a folder up
// to date.
func (t *table) writeDocs(dir string, targets []target) error {
	var sheet, plot bytes.Buffer
	if err := t.csv(&sheet); err != nil {
		return err
	}
	t.svg(&plot)
	for name, data := range map[string][]byte{"compare.csv": sheet.Bytes(), "compare.svg": plot.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	page := filepath.Join(dir, "compare-tables.md")
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok1 := bytes.Cut(old, []byte(docsBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(docsEnd))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: the lines %q and %q, between which the tables go, are not there", page, docsBegin, docsEnd)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(docsBegin)
	t.tables(&b, targets)
	b.WriteString("\n" + docsEnd)
	b.Write(after)
	return os.WriteFile(page, b.Bytes(), 0o644)
}

// tables writes all that the page shows of a comparison.
func (t *table) tables(w io.Writer, targets []target) {
	met := 0
	for _, x := range targets {
		if x.met {
			met++
		}
	}
	fmt.Fprintf(w, "\n## At a glance\n\nMedians over %d seeds; of the others, the lowest and the highest.\n\n", t.seeds)
	t.summary(w)
	fmt.Fprintf(w, "\n## Targets\n\nMedians over %d seeds. %d of %d targets are met.\n", t.seeds, met, len(targets))
	targetsMarkdown(w, targets)
	fmt.Fprintf(w, "\n## Every scenario\n\nMedians over %d seeds.\n", t.seeds)
	t.markdown(w)
}
