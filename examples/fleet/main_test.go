package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The test's binary is the worker's too.
func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) == "" {
		os.Exit(m.Run())
	}
	main()
}

func TestShow(t *testing.T) {
	var out bytes.Buffer
	if err := show(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"60 jobs submitted, 2 files each, 16 uploads", "ben is killed", "+ dora", "60 of 60 jobs have their result, each once; 60 files", "anna ", "carla ", "running"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}
