package main

import (
	"strings"
	"testing"
)

// Everything that fails without the transport is answered with it.
func TestTransportMakesTheDifference(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Error(err)
	}
	t.Log("\n" + out.String())
	if failed, answered := strings.Count(out.String(), "  without  FAILED"), strings.Count(out.String(), "  with     answered"); failed != 2 || answered != 2 {
		t.Errorf("%d of 2 failed without, %d were answered with", failed, answered)
	}
}
