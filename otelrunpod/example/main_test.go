package main

import (
	"strings"
	"testing"
)

func TestExamplePrintsAColdCall(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"runpod.job runpod.job.id=photo-1", "runpod.cause=cold_wait", "S3/PutObject", "runpod.call.wait.cold", "runpod.jobs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not print %q:\n%s", want, out.String())
		}
	}
}
