package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test's binary is the worker's too.
func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Each way does its batch. Figures are for a quiet machine and a person's eyes.
func TestWays(t *testing.T) {
	for _, w := range ways() {
		if testing.Short() && strings.Contains(w.name, "8") {
			continue
		}
		b, err := w.run(t.Context(), 12)
		if err != nil || b.done != 12 || b.makespan <= 0 || b.billed <= 0 || b.attempts < 1 {
			t.Errorf("%s: %v, %v", w.name, b, err)
		}
	}
}

func TestCost(t *testing.T) {
	c, err := measure(t.Context(), 100)
	if err != nil || c.submit <= 0 || c.bare <= 0 || c.job <= 0 || c.call <= 0 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestReport(t *testing.T) {
	of := []batch{{makespan: 3 * time.Second, done: 1}, {makespan: time.Second, done: 1}, {makespan: 2 * time.Second, done: 1}}
	text := report(3, 1, 1, []line{{"one", medians(of)}, {"two", batch{makespan: 3 * time.Second}}}, cost{submit: 20, bare: 10})
	if !strings.Contains(text, "| one | 1 | 2 | 1.000 |") || !strings.Contains(text, "| two | 0 | 3 | 1.500 |") || !strings.Contains(text, "2.00 x") {
		t.Error(text)
	}
	name := filepath.Join(t.TempDir(), "a.md")
	if err := os.WriteFile(name, []byte("a\n"+begin+"old\n"+end+"b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeDoc(name, "new\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(name); string(b) != "a\n"+begin+"\nnew\n\n"+end+"b\n" {
		t.Errorf("%q", b)
	}
}
