package sim

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"regexp"
	"testing"
)

// Each flag is named in the documentation, and the documentation names no other.
func TestFlagsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	var help bytes.Buffer
	if _, err := parseFlags([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z0-9-]+)`).FindAllSubmatch(help.Bytes(), -1) {
		name := string(m[1])
		there[name] = true
		if !bytes.Contains(doc, []byte("`-"+name+"`")) && !bytes.Contains(doc, []byte("`-"+name+" ")) {
			t.Errorf("-%s is not in docs/simulator.md", name)
		}
	}
	_, table, _ := bytes.Cut(doc, []byte("## Flags"))
	table, _, _ = bytes.Cut(table, []byte("\n## ")) // what follows is about other commands
	for _, m := range regexp.MustCompile("`-([a-z][a-z0-9-]*)").FindAllSubmatch(table, -1) {
		if !there[string(m[1])] {
			t.Errorf("docs/simulator.md names -%s, which there is not", m[1])
		}
	}
}
