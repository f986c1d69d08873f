package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlagsRefused(t *testing.T) {
	for args, named := range map[string]string{
		"-requests 0":        "-requests 0",
		"-requests many":     "-requests",
		"-concurrency -3":    "-concurrency -3",
		"-concurrency 99999": "-concurrency 99999",
		"-seed -1":           "-seed",
		"-warm -1":           "-warm -1",
		"-speed 9":           "-speed",
		"photos":             `"photos"`,
	} {
		_, err := parseFlags(strings.Fields(args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: %v, want an error that names %s", args, err, named)
		}
	}
}

func TestFlagDefaults(t *testing.T) {
	s, err := parseFlags(nil, io.Discard)
	if err != nil || s.requests != 30 || s.concurrency != 15 || !s.naive || s.live {
		t.Errorf("%+v, %v; want 30 jobs, 15 at once, naive first, simulated", s, err)
	}
}

func TestLiveRunsTheNaiveClientOnlyWhenAsked(t *testing.T) {
	for args, want := range map[string]bool{"-live": false, "-warm 3": false, "-live -naive": true, "-live -naive=false": false} {
		s, err := parseFlags(strings.Fields(args), io.Discard)
		if err != nil || s.naive != want {
			t.Errorf("%s: naive %v (%v), want %v", args, s.naive, err, want)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var b strings.Builder
	_, err := parseFlags([]string{"-h"}, &b)
	if !errors.Is(err, errHelp) {
		t.Fatal(err)
	}
	for _, name := range []string{"-requests", "-concurrency", "-seed", "-inputs", "-out", "-naive", "-json", "-live", "-warm"} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("no %s in\n%s", name, b.String())
		}
	}
}

// What cannot be read or written is refused before anything is sent.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "text.jpg")
	if err := os.WriteFile(file, []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for name, c := range map[string]struct {
		s     settings
		named []string
	}{
		"no input folder":   {settings{inputs: filepath.Join(dir, "none")}, []string{"-inputs", "none"}},
		"empty folder":      {settings{inputs: empty}, []string{"-inputs", empty}},
		"not a picture":     {settings{inputs: dir}, []string{"-inputs", "text.jpg"}},
		"out is a file":     {settings{out: file}, []string{"-out", "text.jpg"}},
		"json is a folder":  {settings{json: dir}, []string{"-json", dir}},
		"json in no folder": {settings{json: filepath.Join(dir, "no", "a.json")}, []string{"-json", "a.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			err := c.s.prepare()
			for _, n := range c.named {
				if err == nil || !strings.Contains(err.Error(), n) {
					t.Errorf("%v does not name %s", err, n)
				}
			}
		})
	}
}

func TestLiveNamesWhatIsMissing(t *testing.T) {
	for _, v := range []string{
		"RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID", "RUNPOD_ENDPOINT_URL", "RUNPOD_S3_ENDPOINT_URL", "RUNPOD_S3_REGION",
		"RUNPOD_S3_BUCKET_NAME", "RUNPOD_S3_ACCESS_KEY_ID", "RUNPOD_S3_SECRET_ACCESS_KEY",
	} {
		t.Setenv(v, "")
	}
	t.Setenv("RUNPOD_S3_REGION", "EU-RO-1")
	s := settings{live: true}
	err := s.prepare()
	if err == nil || !strings.Contains(err.Error(), "RUNPOD_API_KEY") || strings.Contains(err.Error(), "RUNPOD_S3_REGION") {
		t.Errorf("%v: want RUNPOD_API_KEY named, and not RUNPOD_S3_REGION, which is set", err)
	}
}
